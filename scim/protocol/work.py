"""How much a request may compute: a bound on the work of a PATCH on elements and members.

The length of a PATCH grows with its operations, but its cost with operations × elements ×
comparisons. So the cost of every part is added up before the part is done, and a request that would
cost more than MOST_STEPS is refused. All operations of a bulk request share one bound.
"""

import json
from collections.abc import Sequence
from typing import Any

from directory.condition import All, AnyElement, Compare, Condition, Either, Negated, matches
from scim.protocol.binding import comparable_element
from scim.protocol.body import values_in
from scim.protocol.errors import PayloadTooLarge
from scim.protocol.schema import Attribute

MOST_STEPS = 500_000
"""A step takes about a microsecond: comparing one value, or a fifth of an operation's work on each
element of the attribute that it changes."""
STEPS_PER_ELEMENT = 5
_CHARACTERS = 256
"""Characters of a compared text that cost one more step."""
_SOUGHT = 8
"""Characters of a text that is sought inside another (`co`) that cost one more step: in the worst
case all of them are compared at every position."""
_PATH_CHARACTERS = 2
"""Characters of a path that cost a step."""
_COPIED_CHARACTERS = 16
"""Characters of a value written to several elements that cost a step per copy; each value in it
costs one more."""


class Work:
    """The budget of one request in steps, and a cache of the comparable forms of elements."""

    def __init__(self, most: int = MOST_STEPS) -> None:
        self.most = most
        self.spent = 0
        self.exceeded = False
        """Whether steps were refused."""
        self._forms: dict[int, tuple[Any, Any, int]] = {}
        """Identity of an element → the element (so that no other gets its identity), its form and
        its weight."""

    @property
    def left(self) -> int:
        """Steps that may still be taken."""
        return self.most - self.spent

    def spend(self, steps: int) -> None:
        """Take steps from the budget. Raises PayloadTooLarge where too few are left."""
        if steps > self.left:
            self.exceeded = True
            raise PayloadTooLarge(
                f"The request would take more than {MOST_STEPS:,} steps: a step is one value"
                f" compared, and an operation takes {STEPS_PER_ELEMENT} more for each element of"
                " its attribute. Send the operations in several requests, with fewer comparisons"
                " in their paths."
            )
        self.spent += steps

    def spend_on(self, attribute: Attribute, elements: Sequence[Any], times: int = 1) -> None:
        """Take the cost of comparing an attribute's elements, `times` over, in order to add or
        remove some. Raises PayloadTooLarge."""
        weight = sum(self._form(attribute, element)[1] for element in elements)
        self.spend(weight * STEPS_PER_ELEMENT * times)

    def spend_on_path(self, path: str) -> None:
        """Take the cost of parsing a path. Raises PayloadTooLarge."""
        self.spend(len(path) // _PATH_CHARACTERS)

    def spend_on_copies(self, value: Any, copies: int) -> None:
        """Take the cost of writing a value to several elements. Raises PayloadTooLarge."""
        if copies > 1:
            # not orjson: it fails on half a surrogate pair, which is refused with its name later
            written = json.dumps(value, ensure_ascii=False).encode("utf-8", "surrogatepass")
            self.spend((len(written) // _COPIED_CHARACTERS + values_in(written)) * copies)

    def selected(
        self, attribute: Attribute, condition: Condition, elements: Sequence[Any]
    ) -> list[bool]:
        """Which elements of the canonical resource satisfy a condition of `bind_element`, for an
        operation that writes to them. Raises PayloadTooLarge before anything is compared."""
        forms = [self._form(attribute, element) for element in elements]
        weight = sum(weight for _, weight in forms)
        self.spend(weight * (STEPS_PER_ELEMENT + comparisons(condition)))
        return [matches(condition, form) for form, _ in forms]

    def _form(self, attribute: Attribute, element: Any) -> tuple[Any, int]:
        """The comparable form of an element, and its weight: the steps of one comparison."""
        known = self._forms.get(id(element))
        if known is None:
            form = comparable_element(attribute, element)
            known = self._forms[id(element)] = (element, form, 1 + _extra(form))
        return known[1:]


def _extra(form: Any) -> int:
    """The weight of an element beyond that of a short value: long texts, and nested values."""
    kind = type(form)
    if kind is str:
        return len(form) // _CHARACTERS
    if kind is dict:
        extra = 0
        for value in form.values():
            extra += len(value) // _CHARACTERS if type(value) is str else _extra(value)
        return extra
    return sum(1 + _extra(value) for value in form) if kind is list else 0


def comparisons(condition: Condition) -> int:
    """How many steps it takes to compare one short value with a condition."""
    if type(condition) is Compare and condition.operator != "co":
        return 1
    match condition:
        case All(conditions) | Either(conditions):
            return sum(map(comparisons, conditions))
        case Negated(inner) | AnyElement(_, inner):
            return comparisons(inner)
        case Compare(_, "co", str(value)):
            return 1 + len(value) // _SOUGHT
    return 1
