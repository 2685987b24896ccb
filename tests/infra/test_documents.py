"""What the documents tell people to type exists, and every alert has its paragraph."""

import ast
import re
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import typer.main

from administration.errors import Absent, AdministrationError
from manage import app
from tests.infra.bicep import Infra

ROOT = Path(__file__).parents[2]
CALL = r"manage\.py [a-z][\w -]*"
ERRORS = {
    AdministrationError.__name__,
    *(error.__name__ for error in AdministrationError.__subclasses__()),
    *(error.__name__ for error in Absent.__subclasses__()),
}
DOCUMENTS = [
    *(ROOT / name for name in ("README.md", "CONTRIBUTING.md", "CHANGELOG.md", "SECURITY.md")),
    ROOT / "tests/README.md",
    *sorted((ROOT / "docs").glob("*.md")),
]


def code(markdown: str) -> Iterator[str]:
    """The lines of code blocks, with continued lines joined, and the code in the text."""
    blocks = re.findall(r"```[^\n]*\n(.*?)```", markdown, re.DOTALL)
    for block in blocks:
        yield from block.replace("\\\n", " ").splitlines()
    yield from re.findall(r"`([^`\n]+)`", re.sub(r"```.*?```", "", markdown, flags=re.DOTALL))


def unknown(line: str) -> Iterator[str]:
    """What is wrong with a call of manage.py in a line."""
    called = re.search(r"manage\.py (.*)", line.partition(" #")[0])
    if called is None:
        return
    command: Any = typer.main.get_command(app)
    words = called[1].split()
    while words and hasattr(command, "commands"):
        found = command.commands.get(words[0])
        if found is None:
            if re.match(r"[a-z]", words[0]):
                yield f"manage.py has no command {words[0]!r} in {line!r}"
            return
        command, words = found, words[1:]
    options = {option for parameter in command.params for option in parameter.opts} | {"--help"}
    options |= {option for parameter in command.params for option in parameter.secondary_opts}
    for word in words:
        for option in re.findall(r"^\[?(--[a-z-]+)", word):
            if option not in options:
                yield f"{line!r}: there is no {option}"


def test_commands_exist() -> None:
    problems = [
        f"{document.name}: {problem}"
        for document in DOCUMENTS
        for line in code(document.read_text())
        for problem in unknown(line)
    ]
    assert problems == []


def told(program: str) -> Iterator[str]:
    """What a program tells people to type: calls in its texts, and the commands of its errors."""
    for node in ast.walk(ast.parse(program)):
        yield from re.findall(CALL, _text(node))
        if isinstance(node, ast.Call) and len(node.args) == 2:
            name = getattr(node.func, "id", getattr(node.func, "attr", ""))
            if name in ERRORS:
                yield f"manage.py {_text(node.args[1])}"


def _text(node: ast.AST) -> str:
    """A literal text, with X for what is put in; empty for anything else."""
    match node:
        case ast.Constant(value=str(text)):
            return text
        case ast.JoinedStr(values=parts):
            return "".join(_text(part) or "X" for part in parts)
    return ""


def test_commands_that_programs_name_exist() -> None:
    calls = [
        (program, line)
        for folder in ("administration", "commands", "console", "laptop")
        for program in (ROOT / folder).rglob("*.py")
        for line in told(program.read_text())
    ]
    assert len(calls) > 40
    assert [(program.name, each) for program, line in calls for each in unknown(line)] == []
    pages = [page.read_text() for page in (ROOT / "console/templates").glob("*.html")]
    named = [line for page in pages for line in re.findall(CALL, page)]
    assert [problem for line in named for problem in unknown(line)] == []


def test_a_command_that_a_program_makes_up_is_seen() -> None:
    made_up = 'raise AdministrationError("No.", f"group explode {tenant}")'
    in_a_text = 'remedy = f"manage.py catalog load {tenant} FILE"'
    for program in (made_up, in_a_text):
        assert [problem for line in told(program) for problem in unknown(line)]


def test_a_command_that_does_not_exist_is_seen() -> None:
    assert list(unknown("$ .venv/bin/python manage.py tenant explode contoso"))
    assert list(unknown("manage.py tenant create contoso --colour red"))
    assert not list(unknown("manage.py tenant create contoso --name Contoso"))


def groups_of_commands() -> Iterator[tuple[str, ...]]:
    """Every command of manage.py, in words: `("tenant", "create")`."""

    def below(command: Any, words: tuple[str, ...]) -> Iterator[tuple[str, ...]]:
        if not hasattr(command, "commands"):
            yield words
        for name, inner in getattr(command, "commands", {}).items():
            yield from below(inner, (*words, name))

    yield from below(typer.main.get_command(app), ())


def listed_commands(markdown: str) -> set[tuple[str, ...]]:
    """Those in the first column of the table, where `tenant create · list` names two."""
    found = set()
    for line in re.findall(r"^\| `([a-z][^`]*)` \|", markdown, re.MULTILINE):
        subject = line.split()[0]
        for part in line.split(" · "):
            words = re.split(r" (?=[\[A-Z-])", part)[0].split()
            found.add(tuple(words if words[0] == subject else (subject, *words)))
    return found


def test_every_command_is_listed() -> None:
    listed = listed_commands((ROOT / "docs/commands.md").read_text())
    assert listed == {*groups_of_commands()}


def test_every_folder_of_tests_is_described() -> None:
    described = re.findall(r"^\| `(\w+)/` \|", (ROOT / "tests/README.md").read_text(), re.MULTILINE)
    assert {*described} == {found.parent.name for found in (ROOT / "tests").glob("*/test_*.py")}


def links(markdown: str) -> Iterator[str]:
    """Files that a document links to."""
    for target in re.findall(r"\]\(([^)\s]+)\)", markdown):
        if not re.match(r"[a-z]+:|#", target):
            yield target.partition("#")[0]


def test_links_lead_somewhere() -> None:
    for document in DOCUMENTS:
        dead = [
            link for link in links(document.read_text()) if not (document.parent / link).exists()
        ]
        assert dead == [], document.name


def alerts(infra: Infra) -> list[str]:
    """The names of all alerts."""
    module = infra.files["modules/alerts.bicep"]
    listed = [row["name"] for kind in ("metrics", "logs") for row in module.variables[kind].value]
    alone = [
        str(resource.get("name")).partition("${suffix}-")[2].strip("'")
        for resource in module.resources.values()
        if resource.type == "Microsoft.Insights/metricAlerts"
    ]
    return [*listed, *(name for name in alone if not name.startswith("${alert."))]


def test_every_alert_has_its_paragraph() -> None:
    manual = (ROOT / "docs/operate.md").read_text()
    told = re.findall(r"^### `([\w-]+)`", manual, re.MULTILINE)
    assert sorted(told) == sorted(alerts(Infra.read()))
    assert len(alerts(Infra.read())) > 10


def test_the_guide_names_the_portal_s_pages() -> None:
    """Those of an Enterprise Application's provisioning, as they are called since 2026."""
    guide = (ROOT / "docs/entra.md").read_text()
    for page in ("New configuration", "Connectivity", "Attribute mapping", "Users and groups"):
        assert f"**{page}**" in guide


def test_both_forms_of_the_subject_are_told_and_how_to_see_which() -> None:
    manual = (ROOT / "docs/deploy.md").read_text()
    assert "`repo:<owner>/<repository>:environment:eu`" in manual
    assert "`repo:<owner>@<id>/<repository>@<id>:environment:eu`" in manual
    assert "actions/oidc/customization/sub" in manual


def test_every_provider_that_is_deployed_is_registered() -> None:
    """A resource of an unregistered provider ends the deployment."""
    manual = (ROOT / "docs/deploy.md").read_text()
    loop = re.search(r"for provider in (.*?); do", manual, re.DOTALL)
    assert loop is not None
    registered = {*re.findall(r"\w+", loop[1])}
    used = {resource.type.split("/")[0] for resource in Infra.read().resources()}
    needed = {name.removeprefix("Microsoft.") for name in used} - {"Resources"}
    # Flex Consumption's network, and what Application Insights makes for itself.
    assert needed | {"App", "AlertsManagement"} == registered


def test_every_option_of_a_stamp_that_costs_says_so() -> None:
    """In the parameter files, where the choice is made."""
    for stamp in ("eu", "us"):
        lines = (ROOT / f"infra/{stamp}.bicepparam").read_text().splitlines()
        for name in (
            "zoneRedundant",
            "cosmosZoneRedundant",
            "readLocations",
            "exportLocation",
            "backupTier",
            "vnetEnabled",
            "frontDoor",
            "capacityMode",
            "alwaysReadyInstances",
            "alwaysReadyReconcilers",
            "availabilityTest",
            "logDailyCapGB",
        ):
            (line,) = [each for each in lines if each.startswith(f"param {name} ")]
            assert "//" in line, f"{stamp}.bicepparam: {name} does not say what it costs"


def test_nothing_says_that_it_was_deployed() -> None:
    """Nobody has: what only a subscription can show is in a table."""
    manual = (ROOT / "docs/deploy.md").read_text()
    assert "None of this has been deployed to a live subscription" in manual
    assert "## What was checked, and how" in manual


type Arrows = dict[str, set[str]]


def imports() -> Arrows:
    """Which of our packages and modules imports which, as the code has it."""
    names = {path.parent.name for path in ROOT.glob("*/__init__.py")}
    names = names - {"tests"} | {path.stem for path in ROOT.glob("*.py")}
    found: Arrows = {}
    for name in names:
        single = ROOT / f"{name}.py"
        for path in [single] if single.exists() else (ROOT / name).rglob("*.py"):
            for node in ast.walk(ast.parse(path.read_text())):
                modules = [node.module or ""] if isinstance(node, ast.ImportFrom) else []
                if isinstance(node, ast.Import):
                    modules = [alias.name for alias in node.names]
                used = {module.partition(".")[0] for module in modules}
                found.setdefault(name, set()).update((used & names) - {name})
    return found


def drawn() -> Arrows:
    """The arrows of docs/architecture.md's picture of the house."""
    (picture,) = re.findall(
        r"```mermaid\nflowchart TD\n(.*?)```",
        (ROOT / "docs/architecture.md").read_text(),
        re.DOTALL,
    )
    found: Arrows = {}
    for line in picture.splitlines():
        chain = [re.findall(r"\w+", nodes) for nodes in line.split("-->")]
        for sources, targets in pairwise(chain):
            for source in sources:
                found.setdefault(source, set()).update(targets)
    return found


def below(arrows: Arrows, name: str) -> set[str]:
    """All that arrows lead to."""
    found: set[str] = set()
    ahead = {name}
    while ahead:
        ahead = set().union(*(arrows.get(each, set()) for each in ahead)) - found
        found |= ahead
    return found


def test_the_picture_of_the_house_has_the_arrows_that_the_code_has() -> None:
    code, picture = imports(), drawn()
    assert {name: below(picture, name) for name in code} == {n: below(code, n) for n in code}
    assert [(a, b) for a, targets in picture.items() for b in targets - code[a]] == []
