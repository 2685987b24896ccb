"""`manage.py drift`: whether every access record is what it must be."""

from typing import Annotated, Any

import typer

import wiring
from administration import tenants
from administration.events import OPERATOR
from commands.operation import ask
from commands.output import AsJson, out, plain, run, server, show
from operators.failed import audit_access
from reconciler.questions.drift import Difference, audit, compare
from reconciler.questions.drift import repair as write_anew

LISTED = 1_000
"""The most differences that are listed; all are counted."""


def drift(
    tenant: Annotated[
        str | None, typer.Argument(help="The tenant's id; all tenants if left out.")
    ] = None,
    repair: Annotated[
        bool, typer.Option("--repair", help="Write the records that drifted anew.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Compute every user's access anew and compare it with the records. A record whose event still
    waits is pending, not drift. Exit code 1: drift remains."""

    if server() is not None and tenant is not None and not repair:
        _say(_asked(tenant), as_json)
        return

    async def check(application: wiring.Application) -> dict[str, Any]:
        if tenant is None:
            found = await tenants.list_tenants(application.store)
        else:
            found = [await tenants.read_tenant(application.store, tenant)]
        report: dict[str, Any] = dict.fromkeys(("users", "drift", "pending", "repaired"), 0)
        report["differences"] = []
        for one in found:
            await _check(application, one.tenant_id, repair, report)
        return report

    _say(run(check), as_json)


def _asked(tenant: str) -> dict[str, Any]:
    """The audit by a server, which answers it in parts."""
    report: dict[str, Any] = dict.fromkeys(("users", "drift", "pending", "repaired"), 0)
    report["differences"] = []
    query: dict[str, Any] = {}
    while True:
        part = ask(audit_access, {"tenant": tenant}, query)
        pending = sum(one["pending"] for one in part["differences"])
        report["users"] += part["users"]
        report["pending"] += pending
        report["drift"] += len(part["differences"]) - pending
        room = LISTED - len(report["differences"])
        for one in part["differences"][:room]:
            kind = "pending" if one["pending"] else one["kind"]
            row = {"tenant": tenant, "user": one["userId"], "kind": kind, "text": one["text"]}
            report["differences"].append(row)
        if part["nextCursor"] is None:
            return report
        query["cursor"] = part["nextCursor"]


def _say(report: dict[str, Any], as_json: bool) -> None:
    """Print the report; exit with 1 where drift remains."""
    if as_json:
        show(report, as_json, ())
    else:
        if report["differences"]:
            show(report["differences"], as_json, ("tenant", "user", "kind", "text"))
        out.print(
            f"{report['users']} users: {report['drift']} drifted, {report['repaired']} repaired, "
            f"{report['pending']} pending."
        )
    raise typer.Exit(1 if report["drift"] else 0)


async def _check(
    application: wiring.Application, tenant_id: str, repair: bool, report: dict[str, Any]
) -> None:
    async for page in audit(application.store, tenant_id):
        report["users"] += page.examined
        differences = page.differences
        drifted = [one.user_id for one in differences if not one.pending]
        wrong = [one.user_id for one in differences if one.repairable]
        if repair and wrong:
            ledger = application.service.ledger
            await write_anew(ledger, application.reconciler, tenant_id, wrong, OPERATOR)
            users = [one.user_id for one in differences]
            differences = await compare(application.store, tenant_id, users)
            left = {one.user_id for one in differences if not one.pending}
            report["repaired"] += len(set(drifted) - left)
            drifted = sorted(left)
        report["drift"] += len(drifted)
        report["pending"] += len(differences) - len(drifted)
        room = LISTED - len(report["differences"])
        report["differences"] += [_row(tenant_id, one) for one in differences[:room]]


def _row(tenant_id: str, difference: Difference) -> dict[str, Any]:
    return {
        "tenant": tenant_id,
        "user": difference.user_id,
        "kind": "pending" if difference.pending else difference.kind,
        "text": difference.text,
        "stored": plain(difference.stored),
        "computed": plain(difference.computed),
    }
