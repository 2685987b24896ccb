"""Every recorded request gets the answer that Entra ID needs."""

from collections import Counter

import httpx
import pytest

from tests.recorded.playing import play
from tests.recorded.scenario import SCENARIOS, Scenario


@pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda scenario: scenario.title)
async def test_the_answer_is_as_recorded(scim: httpx.AsyncClient, scenario: Scenario) -> None:
    await play(scim, scenario)


def test_every_scenario_has_a_title_of_its_own() -> None:
    titles = Counter(scenario.title for scenario in SCENARIOS)
    assert [title for title, times in titles.items() if times > 1] == []
