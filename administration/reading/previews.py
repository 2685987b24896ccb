"""A preview as an administrator reads it: a page of people, and the figures of all, as far as one
request may count."""

from collections.abc import Sequence
from dataclasses import dataclass

from pydantic import ValidationError

from administration.reading.naming import entitlement_names, user_names
from directory.documents import EntitlementKey
from directory.store import BadContinuation, Store
from reconciler.questions.preview import Counts, Effect, Keeper, Preview, PreviewCursor
from reconciler.questions.proposal import Proposal

PEOPLE = 50
"""People whom a preview names on one page."""


@dataclass(frozen=True, slots=True)
class WouldKeep:
    """A protected entitlement that would be kept for somebody, or would no longer be kept."""

    kind: str
    key: str
    display_name: str
    ends: bool
    """True: it is kept for the user now and would no longer be, because something would give it."""
    user_id: str | None
    """None: it would be kept for one of its many holders."""
    name: str | None
    """The user's name."""


@dataclass(frozen=True, slots=True)
class Previewed:
    """Some of the people whose access would change, and how many there are in all."""

    effects: tuple[Effect, ...]
    counts: Counts
    """The figures of everybody, whatever the page shows; or of those before `counting`."""
    counting: PreviewCursor | None
    """Where the figures go on; None: they are of everybody."""
    cursor: PreviewCursor | None
    """Where the people go on; None at the end."""
    no_owner: bool
    """Whether nothing would give the role Owner to anybody."""
    kept: tuple[WouldKeep, ...]
    """Protected entitlements that would be kept for somebody, or would no longer be kept."""
    names: dict[EntitlementKey, str]
    """(kind, key) → display name, of every entitlement in it."""


def preview_cursor(text: str) -> PreviewCursor | None:
    """Where a preview goes on, from the JSON of the page's cursor; empty: at its start. Raises
    BadContinuation."""
    try:
        return PreviewCursor.model_validate_json(text) if text else None
    except ValidationError:
        raise BadContinuation from None


async def read_preview(
    store: Store,
    tenant_id: str,
    proposal: Proposal,
    cursor: PreviewCursor | None = None,
    *,
    wanted: Sequence[EntitlementKey] = (),
    takes: bool = True,
) -> Previewed:
    """What a proposal would do; `wanted` are further entitlements to name. `takes`: whether it may
    take anything from anybody; only then is `no_owner` computed. Raises BadContinuation for a
    cursor that is not of this proposal. The processor time is bounded whatever is proposed."""
    asking = Preview(store, tenant_id, proposal)
    page = await asking.page(cursor, PEOPLE)
    whole = await asking.summary(page.cursor) if page.cursor else page
    mentioned = [one for effect in page.effects for one in (*effect.gained, *effect.lost)]
    kept = await asking.keepers()
    names = await entitlement_names(store, tenant_id, [*wanted, *mentioned, *kept])
    people = await user_names(store, tenant_id, [*map(_keeper, kept.values())])
    return Previewed(
        effects=page.effects,
        counts=whole.counts,
        counting=whole.cursor,
        cursor=page.cursor,
        no_owner=takes and await asking.nobody_would_hold(),
        kept=tuple(
            WouldKeep(
                *one,
                names[one],
                keeper.before is not None,
                _keeper(keeper) or None,
                people.get(_keeper(keeper)),
            )
            for one, keeper in kept.items()
        ),
        names=names,
    )


def _keeper(keeper: Keeper) -> str:
    """The SCIM id of the keeper; empty: one of many holders."""
    return keeper.before or keeper.after or ""
