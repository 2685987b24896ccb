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
    kinds: Iterable[str], catalog: Sequence[Entitlement], chosen: Iterable[EntitlementKey]
) -> list[tuple[str, list[Choice]]]:
    """The catalog by kind, as an editor shows it, with chosen entries that the catalog no longer
    has."""
    marked = frozenset(chosen)
    names = {one.entitlement: one.display_name for one in catalog}
    by_kind: dict[str, list[Choice]] = {kind: [] for kind in kinds}
    for one in [*names, *sorted(marked - {*names})]:
        name = names.get(one, f"{one.key} (not in the catalog)")
        choice = Choice(choice_value(one), one.key, name, one in marked)
        by_kind.setdefault(one.kind, []).append(choice)
    return list(by_kind.items())


def choice_value(one: EntitlementKey) -> str:
    """An entitlement as the value of a form's field."""
    return f"{quote(one.kind, safe='')}:{one.key}"


def chosen_from(values: Iterable[str]) -> tuple[EntitlementKey, ...]:
    """The entitlements that such values name, without repetition."""
    parts = (value.partition(":") for value in values)
    return tuple(dict.fromkeys(EntitlementKey(unquote(kind), key) for kind, _, key in parts))


def chosen_in(visit: Visit) -> tuple[EntitlementKey, ...]:
    """The entitlements that a form chose."""
    return chosen_from(visit.all_given("entitlement"))
