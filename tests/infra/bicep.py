"""Bicep files as values: what the policies of this folder are asserted on.

Strings, numbers, booleans, lists and objects become Python's; whatever must be evaluated stays
text (`Expression`). A resource in a loop is one resource.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import tree_sitter_bicep
from tree_sitter import Language, Node, Parser

INFRA = Path(__file__).parents[2] / "infra"
STAMPS = ("eu", "us", "test", "drill")

_parser = Parser(Language(tree_sitter_bicep.language()))


class Expression(str):
    """Something that Azure evaluates; its text."""

    __slots__ = ()


@dataclass(frozen=True, slots=True)
class Resource:
    """A resource or, where `type` names a file, a module."""

    file: str
    symbol: str
    type: str
    version: str
    existing: bool
    body: dict[str, Any]
    node: Node
    decorators: dict[str, Any] = field(default_factory=dict)

    def get(self, path: str) -> Any:
        """The value at `properties.siteConfig.minTlsVersion`; None where there is none."""
        found: Any = self.body
        for key in path.split("."):
            if not isinstance(found, dict):
                return None
            found = found.get(key)
        return found

    @property
    def text(self) -> str:
        """Its declaration."""
        return _text(self.node)

    def __str__(self) -> str:
        return f"{self.file}: {self.symbol}"


@dataclass(frozen=True, slots=True)
class Declaration:
    """A parameter, variable or output: its decorators and its value."""

    name: str
    decorators: dict[str, Any]
    value: Any


@dataclass(frozen=True, slots=True)
class File:
    """One file, parsed."""

    name: str
    text: str
    faults: tuple[str, ...]
    parameters: dict[str, Declaration] = field(default_factory=dict)
    variables: dict[str, Declaration] = field(default_factory=dict)
    outputs: dict[str, Declaration] = field(default_factory=dict)
    resources: dict[str, Resource] = field(default_factory=dict)


class Infra:
    """All files of a folder like infra/: name → text. `changed` gives one with a file altered."""

    def __init__(self, texts: Mapping[str, str]) -> None:
        self.texts = dict(texts)
        self.files = {
            name: parse(name, text)
            for name, text in self.texts.items()
            if name.endswith((".bicep", ".bicepparam"))
        }

    @classmethod
    def read(cls) -> "Infra":
        """The project's own."""
        paths = (path for path in sorted(INFRA.rglob("*")) if path.is_file())
        return cls({str(path.relative_to(INFRA)): path.read_text() for path in paths})

    def changed(self, file: str, old: str, new: str) -> "Infra":
        """The same, with the first `old` of a file made `new`."""
        assert old in self.texts[file], f"{file} does not say {old!r}: the change is out of date"
        return Infra({**self.texts, file: self.texts[file].replace(old, new, 1)})

    def changed_at(self, file: str, node: Node, new: str) -> "Infra":
        """The same, with what a node of this file says made `new`."""
        source = self.texts[file].encode()
        text = source[: node.start_byte] + new.encode() + source[node.end_byte :]
        return Infra({**self.texts, file: text.decode()})

    def resources(self, type: str = "") -> Iterator[Resource]:
        """What is declared, not what is only referred to; modules are left out."""
        for file in self.files.values():
            for resource in file.resources.values():
                if resource.version and not resource.existing and type in ("", resource.type):
                    yield resource

    def after(self, file: str) -> dict[str, set[str]]:
        """Symbol of each resource and module of a file → the symbols that it waits for, because it
        refers to them or depends on them, at first or second hand."""
        resources = self.files[file].resources
        found = {
            symbol: {*re.findall(r"\w+", _text(resource.node))} & {*resources} - {symbol}
            for symbol, resource in resources.items()
        }
        for _ in found:
            for symbol, before in found.items():
                found[symbol] = before.union(*(found[each] for each in before))
        return found

    def modules(self) -> Iterator[Resource]:
        """Every use of a module."""
        for file in self.files.values():
            yield from (r for r in file.resources.values() if not r.version)


@cache
def parse(name: str, text: str) -> File:
    """Never raises: what does not parse is in `faults`."""
    # The grammar knows `param` with a type only; in a .bicepparam it has none.
    source = re.sub(r"^param ", "var   ", text, flags=re.MULTILINE) if _is_param(name) else text
    root = _parser.parse(source.encode()).root_node
    file = File(name, text, tuple(_faults(root)))
    decorators: dict[str, Any] = {}
    for node in root.children:
        if node.type == "decorators":
            decorators = dict(_decorator(child) for child in node.named_children)
            continue
        _declare(file, node, decorators)
        if node.type != "comment":
            decorators = {}
    return file


def property_node(node: Node, path: str) -> Node | None:
    """The `object_property` at a path below a resource's declaration."""
    found: Node | None = None
    body: Node | None = _body(node)
    for key in path.split("."):
        if body is None:
            return None
        found = next(
            (c for c in body.children if c.type == "object_property" and _key(c) == key), None
        )
        if found is None:
            return None
        body = found.children[-1] if found.children[-1].type == "object" else None
    return found


def _is_param(name: str) -> bool:
    return name.endswith(".bicepparam")


def _declare(file: File, node: Node, decorators: dict[str, Any]) -> None:
    kinds = {
        "parameter_declaration": file.parameters,
        "variable_declaration": file.parameters if _is_param(file.name) else file.variables,
        "output_declaration": file.outputs,
    }
    if node.type in kinds:
        name = _text(next(c for c in node.children if c.type == "identifier"))
        has_value = any(c.type == "=" for c in node.children)
        value = _value(node.children[-1]) if has_value else None
        kinds[node.type][name] = Declaration(name, decorators, value)
    elif node.type in ("resource_declaration", "module_declaration"):
        name = _text(next(c for c in node.children if c.type == "identifier"))
        named = _value(next(c for c in node.children if c.type == "string"))
        type, _, version = named.partition("@")
        existing = any(c.type == "existing" for c in node.children)
        body = _value(_body(node))
        file.resources[name] = Resource(
            file.name, name, type, version, existing, body, node, decorators
        )


def _body(node: Node) -> Node:
    body = node.children[-1]
    while body.type in ("if_statement", "for_statement"):
        body = next(c for c in reversed(body.children) if c.is_named)
    return body


def _decorator(node: Node) -> tuple[str, Any]:
    call = node.named_children[0]
    arguments = call.named_children[1].named_children
    return _text(call.named_children[0]), _value(arguments[0]) if arguments else None


def _value(node: Node) -> Any:
    match node.type:
        case "object":
            return {
                _key(child): _value(child.children[-1])
                for child in node.children
                if child.type == "object_property"
            }
        case "array":
            return [_value(c) for c in node.named_children if c.type != "comment"]
        case "number":
            return int(_text(node))
        case "boolean":
            return _text(node) == "true"
        case "string" if not any(c.type == "interpolation" for c in node.children):
            return _text(node)[1:-1].replace("\\'", "'")
        case "null":
            return None
    return Expression(" ".join(_text(node).split()))


def _key(node: Node) -> str:
    return _text(node.children[0]).strip("'")


def _text(node: Node) -> str:
    return (node.text or b"").decode()


def _faults(node: Node) -> Iterator[str]:
    if node.is_error or node.is_missing:
        yield f"line {node.start_point[0] + 1}: {_text(node)[:60]!r}"
    for child in node.children:
        yield from _faults(child)
