"""What names things in documents: entitlements and members."""

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from directory.documents import (
    EntitlementKey,
    Mapping,
    MemberReference,
    MembershipChange,
    group_id,
    user_id,
)
from directory.store import Unreadable

NOW = datetime(2026, 1, 1, tzinfo=UTC)

references = st.builds(
    MemberReference,
    st.sampled_from(["User", "Group"]),
    st.text("0123456789abcdef", min_size=1, max_size=4),
)


@given(references)
def test_a_member_is_known_by_the_id_of_its_document(member: MemberReference) -> None:
    assert MemberReference.of(member.document_id) == member
    assert member.document_id in (user_id(member.id), group_id(member.id))


@given(st.lists(references, max_size=6), st.lists(references, max_size=6), st.data())
def test_any_part_of_a_change_of_members_is_in_the_order_of_the_whole(
    added: list[MemberReference], removed: list[MemberReference], data: st.DataObject
) -> None:
    change = MembershipChange.of(added, removed)
    whole = [*added, *removed]
    start = data.draw(st.integers(0, len(whole)))
    end = data.draw(st.integers(start, len(whole) + 2))
    assert change.size == len(whole)
    assert change.members() == whole
    assert change.members(start, end) == whole[start:end]


def test_entitlements_are_stored_as_objects_and_have_an_order() -> None:
    keys = (EntitlementKey("role", "b"), EntitlementKey("cost", "z"), EntitlementKey("role", "a"))
    mapping = Mapping(
        tenant_id="t", group_id="g", entitlements=keys, changed_at=NOW, event_id="e"
    ).to_document()
    assert mapping["entitlements"][1] == {"kind": "cost", "key": "z"}
    assert Mapping.from_document(mapping).entitlements == keys
    assert sorted(keys) == [keys[1], keys[2], keys[0]]
    mapping["entitlements"][0]["from a later version"] = 1
    assert Mapping.from_document(mapping).entitlements == keys
    mapping["entitlements"][0] = {"kind": "role"}
    with pytest.raises(Unreadable, match=r"entitlements\.0\.key: missing"):
        Mapping.from_document(mapping)
