"""A change of access is stored as its differences, and read as what it was."""

from datetime import UTC, datetime

import orjson
from hypothesis import given
from hypothesis import strategies as st

from directory.access import AccessChange, AccessState, Grant, GrantSource

SOURCES = st.sampled_from(
    (
        GrantSource(type="manual"),
        GrantSource(type="costCenter"),
        *(
            GrantSource(type="group", group_id=group, mapping_version=version, path=("g", group))
            for group in ("g", "h")
            for version in (1, 2)
        ),
    )
)
GRANTS = st.dictionaries(
    st.tuples(st.sampled_from(("role", "parkingSpace")), st.text(max_size=3)),
    st.lists(SOURCES, min_size=1, max_size=3).map(tuple),
    max_size=6,
).map(
    lambda found: tuple(
        Grant(kind=kind, key=key, sources=sources) for (kind, key), sources in sorted(found.items())
    )
)
STATES = st.none() | st.builds(
    AccessState,
    enabled=st.booleans(),
    reasons=st.sampled_from(((), ("inactive",), ("inactive", "noGroup"))),
    grants=GRANTS,
)


def change(before: AccessState | None, after: AccessState | None) -> AccessChange:
    return AccessChange(
        tenant_id="t",
        change_id="c",
        user_id="u",
        version=2,
        at=datetime(2026, 1, 1, tzinfo=UTC),
        event_id="e",
        before=before,
        after=after,
        ttl=60,
    )


@given(STATES, STATES)
def test_what_is_stored_is_read_as_it_was(
    before: AccessState | None, after: AccessState | None
) -> None:
    stored = orjson.loads(orjson.dumps(change(before, after).to_document()))
    assert AccessChange.from_document(stored) == change(before, after)


@given(STATES, STATES)
def test_changes_that_were_stored_whole_are_read(
    before: AccessState | None, after: AccessState | None
) -> None:
    whole = change(before, after).model_dump(mode="json", by_alias=True, exclude_none=True)
    assert AccessChange.from_document(whole) == change(before, after)


def test_each_grant_is_stored_once() -> None:
    """An edit of a mapping of a thousand entitlements stores their keys, and the mapping twice."""

    def state(version: int, size: int) -> AccessState:
        source = GrantSource(
            type="group", group_id="g" * 26, mapping_version=version, path=("g" * 26,)
        )
        return AccessState(
            enabled=True,
            grants=tuple(
                Grant(kind="role", key=f"{number:04}", sources=(source,)) for number in range(size)
            ),
        )

    body = orjson.dumps(change(state(1, 1000), state(2, 1001)).to_document())
    assert body.count(b'"0500"') == 1
    assert len(body) < 1001 * 7 + 1000
