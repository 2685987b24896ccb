"""Every Bicep file parses, says what its parameters are for, and satisfies the checkers that this
machine has."""

import os
import re
import shutil
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.infra.bicep import INFRA, STAMPS, Declaration, Infra, parse

CHECKER = Path(os.environ.get("BICEP_CHECKER") or INFRA.parents[1] / "shared/bicep/check.py")


def undescribed(infra: Infra) -> Iterator[str]:
    for file in infra.files.values():
        if file.name.endswith(".bicep"):
            declared: list[Declaration] = [*file.parameters.values(), *file.outputs.values()]
            for declaration in declared:
                if not declaration.decorators.get("description"):
                    yield f"{file.name}: {declaration.name} has no @description"


def test_every_file_parses() -> None:
    files = Infra.read().files
    assert {name: file.faults for name, file in files.items() if file.faults} == {}
    assert {f"{stamp}.bicepparam" for stamp in STAMPS} <= {*files}
    assert parse("broken.bicep", "param x string = \nresource {").faults


def test_every_parameter_and_output_is_described() -> None:
    infra = Infra.read()
    assert list(undescribed(infra)) == []
    described = "@description('Name of the identity.')\n"
    assert list(undescribed(infra.changed("modules/identity.bicep", described, "")))


def untyped(infra: Infra) -> Iterator[str]:
    """Parameters that take any list or object, so that a wrong one fails in the deployment."""
    for file in infra.files.values():
        if file.name.endswith(".bicep"):
            for name in re.findall(r"^param (\w+) (?:array|object)\b", file.text, re.MULTILINE):
                yield f"{file.name}: {name} needs a type, see types.bicep"


def test_every_parameter_has_a_type_of_its_own() -> None:
    infra = Infra.read()
    assert list(untyped(infra)) == []
    assert list(untyped(infra.changed("main.bicep", "operators principal[]", "operators array")))


def undeclared(infra: Infra) -> Iterator[str]:
    """What a parameter file gives that main.bicep does not take, and the reverse."""
    declared = infra.files["main.bicep"].parameters
    for stamp in STAMPS:
        given = infra.files[f"{stamp}.bicepparam"].parameters
        yield from (f"{stamp}.bicepparam: there is no {name}" for name in given.keys() - declared)
        for name in declared.keys() - given:
            if not re.search(rf"^param {name} .*=", infra.texts["main.bicep"], re.MULTILINE):
                yield f"{stamp}.bicepparam: {name} is missing"


def test_parameter_files_fit_the_template() -> None:
    infra = Infra.read()
    assert list(undeclared(infra)) == []
    for file, old, new in (
        ("us.bicepparam", "param frontDoor = false", "param backDoor = false"),
        ("drill.bicepparam", "param zoneRedundant = false", ""),
    ):
        assert list(undeclared(infra.changed(file, old, new)))


def test_no_budget_is_no_error_in_its_module() -> None:
    """Where there is none, the module is still checked with its parameters."""
    budget = Infra.read().files["main.bicep"].resources["budget"]
    assert budget.get("params.amount") == "max(budgetAmount, 1)"


def test_every_module_is_used() -> None:
    infra = Infra.read()
    used = Counter(Path(module.type).name for module in infra.modules())
    assert {Path(name).name for name in infra.files if name.startswith("modules/")} == {*used}


def test_one_version_of_each_resource_type() -> None:
    versions: dict[str, set[str]] = {}
    for resource in Infra.read().resources():
        versions.setdefault(resource.type, set()).add(resource.version)
    assert {type: found for type, found in versions.items() if len(found) > 1} == {}


@pytest.mark.skipif(not CHECKER.is_file(), reason=f"no checker of resource types at {CHECKER}")
def test_the_checker_finds_nothing(tmp_path: Path) -> None:
    files = [str(INFRA / name) for name in Infra.read().files]
    checked = subprocess.run(
        [sys.executable, str(CHECKER), *files], capture_output=True, text=True, check=False
    )
    assert (checked.returncode, checked.stdout, checked.stderr) == (0, "", "")

    broken = tmp_path / "broken.bicep"
    broken.write_text((INFRA / "modules/identity.bicep").read_text().replace("2024-11", "2024-12"))
    assert subprocess.run([sys.executable, str(CHECKER), str(broken)], check=False).returncode == 1


@pytest.mark.skipif(
    not (shutil.which("bicep") or shutil.which("az")), reason="neither bicep nor az is installed"
)
def test_the_compiler_finds_nothing() -> None:
    command = ["bicep"] if shutil.which("bicep") else ["az", "bicep"]
    option = [] if shutil.which("bicep") else ["--file"]
    for verb, name in (
        ("build", "main.bicep"),
        *(("build-params", f"{stamp}.bicepparam") for stamp in STAMPS),
    ):
        compiled = subprocess.run(
            [*command, verb, *option, str(INFRA / name), "--stdout"],
            capture_output=True,
            text=True,
            check=False,
        )
        assert (compiled.returncode, compiled.stderr) == (0, "")
