"""The recordings as they stand in the JSON files, and the values filled into them.

README.md beside this file describes the format. A name that is not in the format is an error:
a misspelt `expect` must not pass for a test.
"""

import json
import re
import uuid
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_validator
from pydantic.alias_generators import to_camel

FOLDER = Path(__file__).parent / "requests"


class _Recorded(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, alias_generator=to_camel)


class Expectation(_Recorded):
    """What the answer must be; `detail` is a regular expression found in the error's detail."""

    status: Annotated[
        tuple[int, ...],
        BeforeValidator(lambda status: tuple(status) if isinstance(status, list) else (status,)),
    ]
    body: Any = None
    headers: dict[str, Any] = {}
    scim_type: str | None = None
    detail: str | None = None


class Step(_Recorded):
    """One request, or `repeat` of it with `${n}` counting from 1, `together` all at once."""

    about: str = ""
    method: Literal["GET", "POST", "PUT", "PATCH", "DELETE"]
    path: str
    """Below the base path, with the query as it is on the wire where the wire matters."""
    query: dict[str, str] = {}
    headers: dict[str, str | None] = {}
    """Added to the client's; null takes one away."""
    body: Any = None
    """JSON; a string is sent as it is."""
    body_hex: str | None = None
    """Bytes that are no text."""
    repeat: int = 1
    together: bool = False
    expect: Expectation
    save: dict[str, str] = {}
    """Names for values of the answer: `{"user": "$.id"}`."""


class Given(_Recorded):
    """What is there before the first step: users, and groups with their members, by the names of
    given.json. Their ids are filled in as `${name}`."""

    users: list[str] = []
    groups: dict[str, list[str]] = {}


class Scenario(_Recorded):
    """A recorded exchange: requests in their order, each with the answer it needs."""

    topic: str
    """The file it stands in."""
    name: str
    source: str
    dialect: Literal["default", "flag", "rfc", "validator"]
    policy: dict[str, Any] = {}
    given: Given = Given()
    steps: list[Step] = Field(min_length=1)

    @property
    def title(self) -> str:
        """Names it in a test report."""
        return f"{self.topic}: {self.name}"

    @model_validator(mode="after")
    def _members_are_given(self) -> Self:
        for members in self.given.groups.values():
            if unknown := set(members) - set(self.given.users):
                raise ValueError(f"not among the given users: {sorted(unknown)}")
        return self


class _Bodies(_Recorded):
    users: dict[str, dict[str, Any]]
    groups: dict[str, dict[str, Any]]


def _scenarios() -> Iterator[Scenario]:
    for file in sorted(FOLDER.glob("[0-9]*.json")):
        for recorded in json.loads(file.read_text("utf-8")):
            yield Scenario.model_validate({"topic": file.stem} | recorded)


GIVEN = _Bodies.model_validate_json((FOLDER / "given.json").read_text("utf-8"))
"""What Entra ID sends to create the users and groups that scenarios start with."""

SCENARIOS: tuple[Scenario, ...] = tuple(_scenarios())
"""Every recording, in the order of the files."""

_PLACE = re.compile(r"\$\{([^${}]+)\}")


def fill(template: Any, values: Mapping[str, str]) -> Any:
    """Put values in the place of their names.

    `${name}` is a saved value, `${guid}` a random GUID each time, `${text:5}` is `xxxxx` and
    `${text:3:ab}` is `ababab`. Names are filled from the inside out: `${user${n}}`. A list
    element `{"$each": 3, "of": …}` stands for three elements, with `${n}` counting from 1.

    Raises KeyError for a name that nothing was saved under.
    """
    if isinstance(template, str):
        while (filled := _PLACE.sub(lambda place: _value(place[1], values), template)) != template:
            template = filled
        return template
    if isinstance(template, list):
        return [element for item in template for element in _elements(item, values)]
    if isinstance(template, dict):
        return {fill(name, values): fill(value, values) for name, value in template.items()}
    return template


def _value(name: str, values: Mapping[str, str]) -> str:
    if name == "guid":
        return str(uuid.uuid4())
    if name.startswith("text:"):
        _, times, *unit = name.split(":", 2)
        return (unit[0] if unit else "x") * int(times)
    return values[name]


def _elements(item: Any, values: Mapping[str, str]) -> Iterator[Any]:
    if isinstance(item, dict) and item.keys() == {"$each", "of"}:
        for n in range(1, item["$each"] + 1):
            yield fill(item["of"], {**values, "n": str(n)})
    else:
        yield fill(item, values)


def pick(path: str, body: Any) -> str:
    """The string at a path such as `$.id` or `$.Resources[0].id`. Raises KeyError, IndexError."""
    value = body
    for name, index in re.findall(r"\.([^.\[]+)|\[(\d+)\]", path.removeprefix("$")):
        value = value[name] if name else value[int(index)]
    return str(value)
