"""Somebody who types commands."""

import json
from pathlib import Path
from typing import Any

from typer.testing import CliRunner

from manage import app


class Operator:
    """Somebody who types commands."""

    def __init__(self, folder: Path, **settings: str) -> None:
        environment = {"MUSTER_DATA": str(folder), "COLUMNS": "200", **settings}
        self._runner = CliRunner(env=environment)

    def does(self, *arguments: str) -> Any:
        """What a command that succeeds prints as JSON."""
        result = self._runner.invoke(app, [*arguments, "--json"])
        assert result.exit_code == 0, result.output
        return json.loads(result.stdout)

    def exits(self, *arguments: str) -> tuple[int, Any]:
        """The exit code of a command, and what it prints as JSON."""
        result = self._runner.invoke(app, [*arguments, "--json"])
        return result.exit_code, json.loads(result.stdout)

    def reads(self, *arguments: str) -> str:
        """What a command that succeeds prints for a person."""
        result = self._runner.invoke(app, list(arguments))
        assert result.exit_code == 0, result.output
        return result.stdout

    def fails(self, *arguments: str) -> str:
        """What a command that fails says."""
        result = self._runner.invoke(app, list(arguments))
        assert result.exit_code == 1, result.output
        return result.output
