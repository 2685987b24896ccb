"""`manage.py simulate --graph` beside `make run`: from set-up to everybody's access."""

import pytest

from laptop.graph import play
from tests.administration.operating import Operator
from tests.hosting import Host


def test_the_whole_is_played_and_everybody_ends_right(
    host: Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(play, "SPEED", 400.0)
    arguments = ("simulate", "--graph", "--url", host.url, "--users", "6", "--groups", "2")
    for _ in range(2):
        summary = Operator(host.folder).does(*arguments, "--seed", "3")
        assert summary["madeByHand"] == ["a member out", "inactive", "a member in"]
        assert (len(summary["people"]), summary["wrong"]) == (6, 0)
    refused = Operator(host.folder).fails(*arguments, "--token", "x", "--access-token", "y")
    assert "leave out --token" in refused
