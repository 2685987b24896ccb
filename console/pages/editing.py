"""Choosing entitlements from the catalog in a form."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from urllib.parse import quote, unquote

from console.visit import Visit
from directory.documents import Entitlement, EntitlementKey


@dataclass(frozen=True, slots=True)
class Choice:
    """An entitlement in an editor."""

    value: str
    key: str
    name: str
    chosen: bool


def choices(
    kinds: Iterable[str], catalog: Sequence[Entitlement], chosen: Sequence[EntitlementKey]
) -> list[tuple[str, list[Choice]]]:
    """The catalog by kind, as an editor shows it, and what is chosen though the catalog no longer
    has it."""
    marked = pairs(chosen)
    names = {(one.kind, one.key): one.display_name for one in catalog}
    by_kind: dict[str, list[Choice]] = {kind: [] for kind in kinds}
    for kind, key in [*names, *(pair for pair in sorted(marked) if pair not in names)]:
        value = choice_value(EntitlementKey(kind=kind, key=key))
        name = names.get((kind, key), f"{key} (not in the catalog)")
        by_kind.setdefault(kind, []).append(Choice(value, key, name, (kind, key) in marked))
    return list(by_kind.items())


def choice_value(one: EntitlementKey) -> str:
    """An entitlement as the value of a form's field."""
    return f"{quote(one.kind, safe='')}:{one.key}"


def chosen_from(values: Iterable[str]) -> tuple[EntitlementKey, ...]:
    """What such values name, without repetition."""
    chosen: dict[tuple[str, str], EntitlementKey] = {}
    for value in values:
        kind, _, key = value.partition(":")
        chosen[kind, key] = EntitlementKey(kind=unquote(kind), key=key)
    return tuple(chosen.values())


def chosen_in(visit: Visit) -> tuple[EntitlementKey, ...]:
    """The entitlements that a form chose."""
    return chosen_from(visit.all_given("entitlement"))


def pairs(entitlements: Iterable[EntitlementKey]) -> set[tuple[str, str]]:
    """Entitlements without order and names."""
    return {(one.kind, one.key) for one in entitlements}
