"""The provisioning job of an Enterprise Application: its credentials, its schema and its cycles.

It sends requests by `laptop.simulation.provisioning`, mapped by the schema that was put.
"""

import copy
import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx

from laptop.graph.directory import Account, Directory, Group, Principal
from laptop.simulation.mapping import Mappings
from laptop.simulation.provisioning import Provisioning, ProvisioningError

TEMPLATE = Path(__file__).with_name("template.json")
type Outcome = tuple[str, str]
"""The result (Success, Skipped, Failure), and its code."""


@dataclass
class Credentials:
    """The credentials of a job, by Graph's keys. `own` is the token that Entra ID signs, which is
    used where the secret token is blank."""

    values: dict[str, str] = field(default_factory=dict)
    own: str = ""

    async def provisioning(
        self, mappings: Mappings, transport: httpx.AsyncBaseTransport | None
    ) -> Provisioning:
        """A connection with these credentials. Raises ProvisioningError where the token endpoint
        gives no token."""
        values = self.values
        url = values.get("BaseAddress") or values.get("baseAddress") or ""
        token = values.get("SecretToken") or self.own
        if values.get("authenticationType"):
            token = await self._granted(transport)
        return Provisioning(url, token, mappings=mappings, transport=transport)

    async def _granted(self, transport: httpx.AsyncBaseTransport | None) -> str:
        values = self.values
        async with httpx.AsyncClient(transport=transport) as client:
            answer = await client.post(
                values["oauth2TokenExchangeUri"],
                data={"grant_type": "client_credentials"},
                auth=(values["oauth2ClientId"], values["oauth2ClientSecret"]),
            )
        if answer.status_code != 200:
            raise ProvisioningError(f"The token endpoint answered {answer.status_code}.")
        return str(answer.json()["access_token"])


class Job:
    """One job. It keeps its links when its schema or its credentials change."""

    def __init__(self, id: str, template: str, directory: Directory, principal: Principal) -> None:
        self.id = id
        self.template = template
        self.schema = template_schema(id)
        self.state = "Paused"
        self.quarantine: dict[str, Any] | None = None
        self.log: list[dict[str, Any]] = []
        self._directory = directory
        self._principal = principal
        self._entra: Provisioning | None = None
        self._made_of = ""
        self._sent: dict[str, set[str]] = {}
        """Group → members that were sent."""

    @property
    def entra(self) -> Provisioning:
        """The last connection, with its links."""
        if self._entra is None:
            raise ProvisioningError("The job has not run.")
        return self._entra

    async def connect(
        self, credentials: Credentials, transport: httpx.AsyncBaseTransport | None
    ) -> Provisioning:
        """The connection for the present schema and credentials."""
        made_of = json.dumps([credentials.values, self.schema])
        if self._entra is not None and made_of == self._made_of:
            return self._entra
        fresh = await credentials.provisioning(Mappings.of(self.schema), transport)
        if (known := self._entra) is not None:
            fresh.take_over(known)
            await known.close()
        self._entra, self._made_of = fresh, made_of
        return fresh

    async def close(self) -> None:
        """Release the connection."""
        if self._entra is not None:
            await self._entra.close()

    def restart(self) -> None:
        """Forget all links: everything is matched anew, and all members are sent again."""
        if self._entra is not None:
            self._entra.forget_all()
        self._sent.clear()

    async def cycle(self, entra: Provisioning) -> None:
        """Send the changes since the last cycle: people, groups, members. Failures go to the log
        and are tried again in the next cycle; a refused connection puts the job into quarantine."""
        try:
            await entra.test_connection()
        except (ProvisioningError, httpx.HTTPError) as error:
            self.quarantine = {
                "reason": "EncounteredQuarantineException",
                "currentBegan": "2026-11-30T08:00:00Z",
                "error": {
                    "code": "SystemForCrossDomainIdentityManagementCredentialsInvalid",
                    "message": str(error),
                },
            }
            return
        self.quarantine = None
        assigned = self._directory.assigned_accounts(self._principal)
        for id, account in self._directory.accounts.items():
            await self._attempt(id, self._send_account(entra, account, assigned=id in assigned))
        groups = {one.id: one for one in self._directory.assigned_groups(self._principal)}
        for id in [id for id in self._sent if id not in groups]:
            await self._attempt(id, entra.delete_group(id))
            del self._sent[id]
        for group in groups.values():
            await self._attempt(group.id, self._send_group(entra, group))

    async def _send_account(
        self, entra: Provisioning, account: Account, *, assigned: bool
    ) -> Outcome:
        """Match and create one person, or update, or deactivate. A person who is out of scope and
        was never sent is skipped."""
        mapping = entra.mappings.user
        source = self._source(entra, account, assigned=assigned)
        linked = account.id in entra.links
        if source["IsSoftDeleted"] == "True" and not linked:
            return "Skipped", "NotEffectivelyEntitled" if not assigned else "NotInScope"
        send = entra.update if linked else entra.provision
        return ("Success", "") if await send(mapping, source) else ("Skipped", "RedundantExport")

    def _source(self, entra: Provisioning, account: Account, *, assigned: bool) -> dict[str, Any]:
        source = account.source
        here = assigned and entra.mappings.user.holds(source) and account.enabled
        return {**source, "IsSoftDeleted": str(not here)}

    async def _send_group(self, entra: Provisioning, group: Group) -> None:
        source = {"objectId": group.id, "displayName": group.name}
        linked = group.id in entra.links
        await (entra.update if linked else entra.provision)(entra.mappings.group, source)
        sent = self._sent.setdefault(group.id, set())
        members = {id for id in group.members if id in entra.links}
        for ids, added in ((members - sent, True), (sent - members, False)):
            known = sorted(id for id in ids if id in entra.links)
            if known:
                await entra.change_members(group.id, known, added=added)
        self._sent[group.id] = members

    async def _attempt(self, id: str, work: Any) -> None:
        try:
            await work
        except (ProvisioningError, httpx.HTTPError) as error:
            self.log.append(entry(self.id, id, str(error)))

    async def account_on_demand(self, entra: Provisioning, id: str) -> Outcome:
        """Provision one person: match anew, and compare with the target."""
        assigned = id in self._directory.assigned_accounts(self._principal)
        account = self._directory.accounts[id]
        source = self._source(entra, account, assigned=assigned)
        if not assigned:
            return "Skipped", "NotEffectivelyEntitled"
        # A person who is out of scope is not created, but deactivated if created before.
        if source["IsSoftDeleted"] == "True" and id not in entra.links:
            return "Skipped", "NotInScope"
        written = await entra.provision(entra.mappings.user, source)
        return ("Success", "") if written else ("Skipped", "RedundantExport")

    async def group_on_demand(
        self, entra: Provisioning, id: str, members: Sequence[str], *, removes: bool
    ) -> Outcome:
        """Provision one group with some members. `removes`: whether those who are not members any
        more are removed."""
        group = self._directory.groups[id]
        if group not in self._directory.assigned_groups(self._principal):
            return "Skipped", "NotEffectivelyEntitled"
        source = {"objectId": id, "displayName": group.name}
        written = await entra.provision(entra.mappings.group, source)
        linked = [one for one in members if one in entra.links]
        there = [one for one in linked if one in group.members]
        gone = [one for one in linked if one not in group.members] if removes else []
        for ids, added in ((there, True), (gone, False)):
            if ids:
                await entra.change_members(id, ids, added=added)
        self._sent[id] = self._sent.get(id, set()) | set(there)
        return ("Success", "") if written or there or gone else ("Skipped", "RedundantExport")

    def shown(self, running: str) -> dict[str, Any]:
        """As Graph shows it; `running` is the status code of a running job."""
        code = {"Active": running, "Paused": "NotRun"}[self.state]
        return {
            "id": self.id,
            "templateId": self.template,
            "schedule": {"state": "Active" if self.state == "Active" else "Disabled"},
            "status": {
                "code": "Quarantine" if self.quarantine else code,
                "quarantine": self.quarantine,
            },
        }


def template_schema(id: str) -> dict[str, Any]:
    """The schema that a new job has in Entra ID."""
    schema: dict[str, Any] = json.loads(TEMPLATE.read_text())
    return copy.deepcopy(schema) | {"id": id}


def entry(job: str, object_id: str, reason: str) -> dict[str, Any]:
    """A failure in the provisioning log."""
    return {
        "jobId": job,
        "sourceIdentity": {"id": object_id},
        "provisioningStatusInfo": {
            "status": "failure",
            "errorInformation": {
                "errorCode": "SystemForCrossDomainIdentityManagementBadRequest",
                "reason": reason,
            },
        },
    }
