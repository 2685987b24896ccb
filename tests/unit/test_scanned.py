"""How many comparisons of a filter no index answers."""

import pytest

from directory.indexing import scanned
from scim.protocol.binding import bind, related
from scim.protocol.filter import parse_filter
from tests.unit.payloads import GROUP, USER


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ('userName eq "a"', 0),
        ('id eq "a"', 0),
        ('emails[type eq "work" and value eq "a"]', 0),
        ('emails.value eq "a" or userName eq "b"', 0),
        ('userName eq "a" and (title co "b" or title co "c")', 0),
        ('userName eq "a" or title co "b"', 1),
        ('title eq "a"', 1),
        ('userName co "a"', 1),
        ('userName gt "a"', 1),
        ('not (userName eq "a")', 1),
        ('not (emails.value eq "a")', 1),
        ('emails[type eq "work"]', 1),
        ('emails[type eq "work" or value eq "a"]', 2),
        ('title co "a" or (nickName co "b" and active eq true)', 3),
    ],
)
def test_comparisons_that_every_user_is_read_for(text: str, expected: int) -> None:
    bound = bind(USER, parse_filter(text))
    assert scanned("User", bound) == expected  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("text", "expected"),
    [('members.value eq "a"', 0), ('members.value ne "a"', 1), ('members.type eq "User"', 1)],
)
def test_comparisons_that_every_membership_is_read_for(text: str, expected: int) -> None:
    conditions = [each.condition for each in related(bind(GROUP, parse_filter(text)))]
    assert sum(scanned("Membership", each) for each in conditions) == expected
