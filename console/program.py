"""The set-up program as an administrator downloads it: with the organisation's values in it."""

import json
import re
from collections.abc import Mapping
from pathlib import Path

PROGRAM = Path(__file__).parent / "setup" / "muster_entra.py"
_FILLED_IN = re.compile(r"^FILLED_IN = \{\n.*?^\}\n", re.MULTILINE | re.DOTALL)


def filled_in(values: Mapping[str, str]) -> str:
    """The program with these values, each written as a Python literal, so that no value can become
    code."""
    lines = "".join(f"    {json.dumps(key)}: {json.dumps(text)},\n" for key, text in values.items())
    return _FILLED_IN.sub(lambda _: f"FILLED_IN = {{\n{lines}}}\n", PROGRAM.read_text(), count=1)
