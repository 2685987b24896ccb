"""Loads the set-up program, which is a file that the console hands out and not a module of the
project."""

import importlib.util
import sys
from functools import cache
from pathlib import Path
from types import ModuleType

PROGRAM = Path(__file__).parents[2] / "console/setup/muster_entra.py"


@cache
def load(program: Path = PROGRAM) -> ModuleType:
    """The program as a module."""
    spec = importlib.util.spec_from_file_location(program.stem, program)
    if spec is None or spec.loader is None:
        raise ImportError(f"{program} cannot be read.")
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses look there
    spec.loader.exec_module(module)
    return module


class Terminal(load().Terminal):  # type: ignore[misc]
    """The program's terminal, as a base class."""
