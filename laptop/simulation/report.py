"""The report at the end of a simulation."""

import math
from collections import Counter
from collections.abc import Sequence
from typing import Any

from rich.console import Console
from rich.table import Table

from laptop.simulation.play import Outcome, Play

PEOPLE_SHOWN = 12


def report(play: Play, outcomes: Sequence[Outcome]) -> dict[str, Any]:
    """Everything as JSON: requests by kind, seconds from request to access, people."""
    return {
        "organisation": play.organisation.tag,
        "requests": {
            what: _figures(seconds) for what, seconds in play.provisioning.measured.seconds.items()
        },
        "secondsToAccess": _figures(play.checking.seconds_to_access),
        "adopted": sorted(
            play.organisation.people[id].user_name for id in play.provisioning.adopted
        ),
        "people": [_person(outcome) for outcome in outcomes],
        "wrong": sum(outcome.access is None for outcome in outcomes),
    }


def show(console: Console, summary: dict[str, Any]) -> None:
    """The report as tables for a person."""
    table = Table("request", "count", "p50 ms", "p99 ms", title="What was sent")
    for what, figures in summary["requests"].items():
        table.add_row(what, str(figures["count"]), _ms(figures["p50"]), _ms(figures["p99"]))
    console.print(table)
    people, tag = summary["people"], summary["organisation"]
    title = f"Who got what in organisation {tag}"
    table = Table("user", "enabled", "groups", "grants", title=title)
    for person in _selection(people):
        state = "yes" if person["enabled"] else "no: " + ", ".join(person["reasons"])
        groups = ", ".join(group.removesuffix(f" ({tag})") for group in person["groups"])
        grants = ", ".join(person["grants"]) or "-"
        table.add_row(person["userName"].partition("@")[0], state, groups, grants)
    console.print(table)
    if len(people) > PEOPLE_SHOWN:
        console.print(f"... and {len(people) - PEOPLE_SHOWN} more; --json lists everybody.")
    held = Counter(grant for person in people for grant in person["grants"])
    table = Table("grant", "users", title="What is held")
    for grant, count in sorted(held.items()):
        table.add_row(grant, str(count))
    console.print(table)
    times = summary["secondsToAccess"]
    if times["count"]:
        console.print(
            f"From the SCIM answer to the access record ({times['count']} sampled): "
            f"p50 {_ms(times['p50'])} ms, p99 {_ms(times['p99'])} ms."
        )
    if adopted := len(summary["adopted"]):
        console.print(
            f"{adopted} of them was there before, made by hand, and was adopted by work e-mail."
        )
    right = len(people) - summary["wrong"]
    colour = "red" if summary["wrong"] else "green"
    console.print(
        f"[bold {colour}]{right} of {len(people)} users have exactly the access that they must "
        f"have.[/]"
    )


def _person(outcome: Outcome) -> dict[str, Any]:
    access = outcome.access or {"enabled": False, "reasons": ["wrong"], "grants": []}
    return {
        "userName": outcome.person.user_name,
        "groups": list(outcome.teams),
        "enabled": access["enabled"],
        "reasons": access["reasons"],
        "grants": [grant["displayName"] for grant in access["grants"]],
        "right": outcome.access is not None,
    }


def _selection(people: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Some disabled people, then enabled ones; people with wrong access come first."""
    order = sorted(people, key=lambda person: (person["right"], person["enabled"]))
    disabled = [person for person in order if not person["enabled"]][: PEOPLE_SHOWN // 3]
    enabled = [person for person in order if person["enabled"]]
    return [*disabled, *enabled][:PEOPLE_SHOWN]


def _figures(seconds: Sequence[float]) -> dict[str, float]:
    ordered = sorted(seconds)
    if not ordered:
        return {"count": 0, "p50": 0.0, "p99": 0.0}
    return {
        "count": len(ordered),
        "p50": ordered[math.ceil(0.50 * len(ordered)) - 1],
        "p99": ordered[math.ceil(0.99 * len(ordered)) - 1],
    }


def _ms(seconds: float) -> str:
    return f"{seconds * 1000:.1f}"
