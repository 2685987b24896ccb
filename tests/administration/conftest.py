"""An operator at an empty store."""

from pathlib import Path

import pytest

from tests.administration.operating import Operator


@pytest.fixture
def operator(tmp_path: Path) -> Operator:
    """Works on the test's own folder."""
    return Operator(tmp_path)
