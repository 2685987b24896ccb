"""The part of Microsoft Graph that a set-up of provisioning needs: requests and answers.

Paths, bodies and errors are those of https://learn.microsoft.com/graph/api/resources/
synchronization-overview. Unknown paths, parameters and keys are refused.
"""

import asyncio
import json
import re
import uuid
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any

import httpx
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from laptop.graph.clock import Clock
from laptop.graph.directory import NON_GALLERY, ROLES, Directory, Principal
from laptop.graph.job import Credentials, Job, Outcome, template_schema
from laptop.graph.sign_in import SignIn
from laptop.simulation.mapping import NOT_NULL, Mappings, UnusableSchema
from laptop.simulation.provisioning import ProvisioningError

ZEROS = "00000000-0000-0000-0000-000000000000"
ON_DEMAND, WINDOW_SECONDS = 5, 10.0
"""How many provisionings on demand are allowed in how many seconds."""
SECRET_KEYS = {"BaseAddress", "SecretToken", "SyncNotificationSettings", "SyncAll"}
OAUTH_KEYS = set(
    "authenticationType baseAddress oauth2ClientId oauth2ClientSecret oauth2TokenExchangeUri "
    "credentialLocationInRequest".split()
)


type Found = tuple[int, dict[str, Any] | None]
"""Status and body."""
type Handler = Callable[[Request], Awaitable[Found]]


@dataclass(frozen=True)
class Doubts:
    """The choices of this Graph where Microsoft's documentation leaves a doubt."""

    template: str = "scim"
    blank_is_left_out: bool = True
    """Whether a blank secret token must be left out, or else sent empty."""
    oauth: bool = True
    """Whether connectivityParameters exist."""
    not_null: str | None = NOT_NULL[0]
    """The name of the operator `is not null` in scoping filters; None: there is no such one."""
    lists_operators: bool = True
    shows_template: bool = True
    """Whether a template's schema can be read."""
    says_types: bool = True
    """Whether members have their `@odata.type`."""
    says_template: bool = True
    """Whether a principal shows the template that it was made from."""
    has_roles: bool = True
    running: str = "Active"
    """The status code of a running job."""
    removes: bool = True
    """Whether provisioning a group on demand removes those who are not members any more."""
    outcome_in_key: bool = True
    """Whether `key` of provisioning on demand has the outcome; `value` always has it."""
    shows_log: bool = True
    keeps_schema: bool = True
    """Whether a schema that is put is stored."""
    echoes: bool = False
    """Whether errors repeat the request's values."""


@dataclass(frozen=True)
class Pace:
    """Page size, delays and throttling of this Graph, in seconds of its clock."""

    page: int = 100
    usable_after: float = 5.0
    """How long a new application is not found by id."""
    listed_after: float = 8.0
    """How long a new application is not listed."""
    assigned_after: float = 0.0
    """How long a new assignment is not listed."""
    throttled_every: int = 0
    """Every n-th request is refused with a pause of one second; 0: none."""


class Refusal(Exception):
    """An error in Graph's form."""

    def __init__(self, status: int, code: str, message: str, **headers: str) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.headers = {name.replace("_", "-"): value for name, value in headers.items()}


class Graph:
    """An ASGI application: Graph and the sign-in service of one directory. `transport` leads to a
    Muster that is not on the network."""

    def __init__(
        self,
        directory: Directory,
        *,
        doubts: Doubts | None = None,
        pace: Pace | None = None,
        clock: Clock | None = None,
        transport: httpx.AsyncBaseTransport | None = None,
        own_token: str = "",
    ) -> None:
        self.directory = directory
        self.doubts = doubts or Doubts()
        self.pace = pace or Pace()
        self.clock = clock or Clock()
        self.sign_in = SignIn(self.clock)
        self.jobs: dict[str, Job] = {}
        """Principal → its job."""
        self.credentials: dict[str, Credentials] = {}
        self.requests: list[tuple[str, str]] = []
        """Method and path of every request."""
        self.base = "http://graph.test"
        self._transport = transport
        self._own_token = own_token
        self._on_demand: list[float] = []
        self._assigned_at: dict[str, float] = {}
        self._cycles: set[asyncio.Task[None]] = set()
        self._application = Starlette(
            routes=[
                *self.sign_in.routes,
                *(self._route(*one) for one in self._operations()),
            ]
        )

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        await self._application(scope, receive, send)

    async def idle(self) -> None:
        """Wait until no cycle runs."""
        await asyncio.gather(*self._cycles)

    async def close(self) -> None:
        """Wait for running cycles, and release the connections."""
        await self.idle()
        for job in self.jobs.values():
            await job.close()

    # Known operations: method, path, needed permission (+: to write), handler.

    def _operations(self) -> list[tuple[str, str, str, Handler]]:
        principal = "/v1.0/servicePrincipals/{sp}"
        synchronization = f"{principal}/synchronization"
        beta = "/beta/servicePrincipals/{sp}/synchronization"
        job = synchronization + "/jobs/{job}"
        template = synchronization + "/templates/{template}"
        assign, groups, users = "AppRoleAssignment", "Group", "User"
        return [
            (
                "POST",
                "/v1.0/applicationTemplates/{template}/instantiate",
                "+Application",
                self._make,
            ),
            ("GET", "/v1.0/servicePrincipals", "Application", self._principals),
            ("GET", principal, "Application", self._one_principal),
            ("GET", f"{principal}/appRoleAssignedTo", "Application", self._assigned),
            ("POST", f"{principal}/appRoleAssignedTo", f"+{assign}", self._assign),
            ("GET", f"{synchronization}/templates", "Synchronization", self._templates),
            ("GET", f"{template}/schema", "Synchronization", self._template_schema),
            ("PUT", f"{synchronization}/secrets", "+Synchronization", self._secrets),
            ("PATCH", f"{beta}/connectivityParameters", "+Synchronization", self._connectivity),
            (
                "POST",
                f"{synchronization}/jobs/validateCredentials",
                "+Synchronization",
                self._valid,
            ),
            ("POST", f"{beta}/jobs/validateCredentials", "+Synchronization", self._valid),
            ("GET", f"{synchronization}/jobs", "Synchronization", self._jobs),
            ("POST", f"{synchronization}/jobs", "+Synchronization", self._make_job),
            ("GET", job, "Synchronization", self._one_job),
            ("GET", f"{job}/schema", "Synchronization", self._schema),
            ("PUT", f"{job}/schema", "+Synchronization", self._put_schema),
            ("GET", f"{job}/schema/filterOperators", "Synchronization", self._operators),
            ("POST", f"{job}/provisionOnDemand", "+Synchronization", self._provision),
            ("POST", f"{job}/start", "+Synchronization", self._start),
            ("POST", f"{job}/restart", "+Synchronization", self._restart),
            ("GET", "/v1.0/groups", groups, self._groups),
            ("GET", "/v1.0/groups/{group}", groups, self._one_group),
            ("GET", "/v1.0/groups/{group}/members", groups, self._members),
            ("GET", "/v1.0/groups/{group}/transitiveMembers", groups, self._members),
            ("GET", "/v1.0/users/{user}", users, self._one_user),
            ("GET", "/v1.0/auditLogs/provisioning", "ProvisioningLog", self._log),
        ]

    def _route(self, method: str, path: str, permission: str, handler: Handler) -> Route:
        async def endpoint(request: Request) -> Response:
            self.requests.append((request.method, request.url.path))
            try:
                self._admit(request, permission)
                answer = await handler(request)
            except Refusal as refusal:
                return refused(refusal)
            status, body = answer
            return JSONResponse(body, status) if body is not None else Response(status_code=status)

        return Route(path, endpoint, methods=[method])

    def _admit(self, request: Request, permission: str) -> None:
        """Check throttling, token and permission. Raises Refusal."""
        every = self.pace.throttled_every
        if every and len(self.requests) % every == 0:
            raise Refusal(429, "TooManyRequests", "Too many requests.", Retry_After="1")
        scheme, _, token = request.headers.get("authorization", "").partition(" ")
        scopes = self.sign_in.scopes_of(token) if scheme == "Bearer" else None
        if scopes is None:
            raise Refusal(401, "InvalidAuthenticationToken", "Access token is empty or invalid.")
        subject = permission.lstrip("+")
        kinds = ["ReadWrite.All"] if permission[0] == "+" else ["Read.All", "ReadWrite.All"]
        subjects = [subject, "GroupMember"] if subject == "Group" else [subject]
        if not any(f"{one}.{kind}" in scopes for one in subjects for kind in kinds):
            raise Refusal(
                403,
                "Authorization_RequestDenied",
                "Insufficient privileges to complete the operation.",
            )

    # Applications.

    async def _make(self, request: Request) -> Found:
        if request.path_params["template"] != NON_GALLERY:
            raise Refusal(404, "Request_ResourceNotFound", "There is no such template.")
        body = await sent(request, "displayName")
        now = self.clock.now()
        made = Principal(
            str(uuid.uuid4()),
            str(uuid.uuid4()),
            body["displayName"],
            list(ROLES) if self.doubts.has_roles else [],
            now + self.pace.usable_after,
            now + self.pace.listed_after,
            NON_GALLERY if self.doubts.says_template else None,
        )
        self.directory.principals[made.id] = made
        application = {"id": made.application, "appId": made.application}
        return 201, {"application": application, "servicePrincipal": made.shown}

    async def _principals(self, request: Request) -> Found:
        name = filtered(request, "displayName")
        now = self.clock.now()
        listed = [one for one in self.directory.principals.values() if one.listed <= now]
        return self._page(request, [one.shown for one in listed if one.name == name])

    async def _one_principal(self, request: Request) -> Found:
        asked(request, "$select")
        return 200, self._principal(request).shown

    def _principal(self, request: Request) -> Principal:
        found = self.directory.principals.get(request.path_params["sp"])
        if found is None or found.usable > self.clock.now():
            id = request.path_params["sp"]
            raise Refusal(
                404,
                "Request_ResourceNotFound",
                f"Resource '{id}' does not exist or one "
                "of its queried reference-property objects are not present.",
            )
        return found

    async def _assigned(self, request: Request) -> Found:
        principal = self._principal(request)
        before = self.clock.now() - self.pace.assigned_after
        made = [one for one in principal.assignments if self._assigned_at[one["id"]] <= before]
        return self._page(request, made)

    async def _assign(self, request: Request) -> Found:
        principal = self._principal(request)
        body = await sent(request, "principalId", "resourceId", "appRoleId")
        group = self.directory.groups.get(body["principalId"])
        roles = [one["id"] for one in principal.roles]
        if group is None or body["resourceId"] != principal.id:
            raise Refusal(404, "Request_ResourceNotFound", "The principal does not exist.")
        if body["appRoleId"] not in (roles or [ZEROS]):
            raise Refusal(
                400, "Request_BadRequest", "Permission being assigned was not found on application."
            )
        if any(one["principalId"] == group.id for one in principal.assignments):
            raise Refusal(
                400, "Request_BadRequest", "Permission being assigned already exists on the object."
            )
        made = {
            "id": str(uuid.uuid4()),
            "principalId": group.id,
            "principalType": "Group",
            "principalDisplayName": group.name,
            "resourceId": principal.id,
            "appRoleId": body["appRoleId"],
        }
        principal.assignments.append(made)
        self._assigned_at[made["id"]] = self.clock.now()
        return 201, made

    # Credentials.

    async def _templates(self, request: Request) -> Found:
        self._principal(request)
        return 200, {"value": [{"id": self.doubts.template, "factoryTag": self.doubts.template}]}

    async def _template_schema(self, request: Request) -> Found:
        self._principal(request)
        if (
            not self.doubts.shows_template
            or request.path_params["template"] != self.doubts.template
        ):
            raise Refusal(404, "ResourceNotFound", "There is no such schema.")
        return 200, template_schema(self.doubts.template)

    async def _secrets(self, request: Request) -> Found:
        principal = self._principal(request)
        values = pairs((await sent(request, "value"))["value"], SECRET_KEYS)
        if json.loads(values["SyncNotificationSettings"])["Enabled"] not in (True, False):
            raise Refusal(400, "BadRequest", "SyncNotificationSettings cannot be read.")
        if values.get("SyncAll") not in ("true", "false"):
            raise Refusal(400, "BadRequest", "SyncAll must be true or false.")
        self._blank_as_expected(values)
        self.credentials[principal.id] = Credentials(values, self._own_token)
        return 204, None

    def _blank_as_expected(self, values: dict[str, str]) -> None:
        if not values.get("SecretToken") and ("SecretToken" in values) == (
            self.doubts.blank_is_left_out
        ):
            raise Refusal(400, "InvalidCredentials", "The credentials are incomplete.")

    async def _connectivity(self, request: Request) -> Found:
        principal = self._principal(request)
        if not self.doubts.oauth:
            raise Refusal(
                404, "BadRequest", "Resource not found for the segment 'connectivityParameters'."
            )
        values = pairs((await sent(request, "value"))["value"], OAUTH_KEYS)
        if values.keys() != OAUTH_KEYS:
            raise Refusal(400, "BadRequest", "Connectivity parameters are missing.")
        self.credentials[principal.id] = Credentials(values)
        return 204, None

    async def _valid(self, request: Request) -> Found:
        principal = self._principal(request)
        body = await sent(request, "templateId", "useSavedCredentials", optional=("credentials",))
        if body["templateId"] != self.doubts.template:
            raise Refusal(404, "ResourceNotFound", "There is no such template.")
        if body["useSavedCredentials"] == ("credentials" in body):
            raise Refusal(400, "BadRequest", "Either saved or given credentials are validated.")
        credentials = self.credentials.get(principal.id)
        if "credentials" in body:
            values = pairs(body["credentials"], {"BaseAddress", "SecretToken"})
            self._blank_as_expected(values)
            credentials = Credentials(values, self._own_token)
        if credentials is None:
            raise Refusal(400, "CredentialsNotSet", "There are no saved credentials.")
        try:
            mappings = Mappings.of(template_schema(""))
            entra = await credentials.provisioning(mappings, self._transport)
            try:
                await entra.test_connection()
            finally:
                await entra.close()
        except (ProvisioningError, httpx.HTTPError) as error:
            text = f"{error} {credentials.values}" if self.doubts.echoes else str(error)
            raise Refusal(400, "CredentialValidationUnavailable", text) from None
        return 204, None

    # The job.

    async def _jobs(self, request: Request) -> Found:
        job = self.jobs.get(self._principal(request).id)
        return 200, {"value": [job.shown(self.doubts.running)] if job else []}

    async def _make_job(self, request: Request) -> Found:
        principal = self._principal(request)
        body = await sent(request, "templateId")
        if body["templateId"] != self.doubts.template or principal.id in self.jobs:
            raise Refusal(400, "BadRequest", "There is no such template, or one such job.")
        id = f"{self.doubts.template}.{uuid.uuid4().hex}"
        job = self.jobs[principal.id] = Job(id, self.doubts.template, self.directory, principal)
        if principal.id not in self.credentials:
            job.quarantine = {"reason": "EncounteredQuarantineException"}
        return 201, job.shown(self.doubts.running)

    def _job(self, request: Request) -> Job:
        job = self.jobs.get(self._principal(request).id)
        if job is None or job.id != request.path_params["job"]:
            raise Refusal(404, "ResourceNotFound", "There is no such job.")
        return job

    async def _one_job(self, request: Request) -> Found:
        return 200, self._job(request).shown(self.doubts.running)

    async def _schema(self, request: Request) -> Found:
        context = "https://graph.microsoft.com/v1.0/$metadata#synchronizationSchema"
        return 200, {"@odata.context": context, **self._job(request).schema}

    async def _put_schema(self, request: Request) -> Found:
        """Replace the whole schema; every key is required."""
        job = self._job(request)
        schema = await sent(request, *job.schema)
        if schema["id"] != job.schema["id"] or schema["directories"] != job.schema["directories"]:
            raise Refusal(400, "BadRequest", "Ids and directories of a schema cannot be changed.")
        known = {one["name"] for one in self._operator_list()}
        for clause in clauses(schema):
            if clause["operatorName"] not in known:
                raise Refusal(400, "InvalidOperator", f"{clause['operatorName']} is no operator.")
        try:
            Mappings.of(schema)
        except (UnusableSchema, KeyError) as error:
            raise Refusal(400, "InvalidSchema", str(error)) from None
        if self.doubts.keeps_schema:
            job.schema = schema
        return 204, None

    def _operator_list(self) -> list[dict[str, Any]]:
        names = [("EQUALS", "Binary"), ("NOT EQUALS", "Binary"), ("IS TRUE", "Unary")]
        names += [(self.doubts.not_null, "Unary")] if self.doubts.not_null else []
        return [
            {"name": name, "arity": arity, "multivaluedComparisonType": "All"}
            for name, arity in names
        ]

    async def _operators(self, request: Request) -> Found:
        self._job(request)
        if not self.doubts.lists_operators:
            raise Refusal(404, "ResourceNotFound", "There is no such resource.")
        return 200, {"value": self._operator_list()}

    async def _start(self, request: Request) -> Found:
        job = self._job(request)
        if job.quarantine:
            raise Refusal(400, "BadRequest", "A job in quarantine is restarted.")
        job.state = "Active"
        self._begin(request.path_params["sp"], job)
        return 204, None

    async def _restart(self, request: Request) -> Found:
        job = self._job(request)
        body = await sent(request, "criteria")
        if body != {"criteria": {"resetScope": "Full"}}:
            raise Refusal(400, "BadRequest", "The criteria are not known.")
        job.restart()
        job.state, job.quarantine = "Active", None
        self._begin(request.path_params["sp"], job)
        return 204, None

    def _begin(self, principal: str, job: Job) -> None:
        task = asyncio.create_task(self._run(principal, job))
        self._cycles.add(task)
        task.add_done_callback(self._cycles.discard)

    async def _run(self, principal: str, job: Job) -> None:
        entra = await job.connect(self.credentials[principal], self._transport)
        await job.cycle(entra)

    async def _provision(self, request: Request) -> Found:
        job = self._job(request)
        now = self.clock.now()
        self._on_demand = [at for at in self._on_demand if at > now - WINDOW_SECONDS]
        if len(self._on_demand) >= ON_DEMAND:
            wait = self._on_demand[0] + WINDOW_SECONDS - now
            raise Refusal(
                429, "TooManyRequests", "At most 5 in 10 seconds.", Retry_After=str(int(wait) + 1)
            )
        self._on_demand.append(now)
        ((rule, subject),) = [
            (one["ruleId"], only)
            for one in (await sent(request, "parameters"))["parameters"]
            for only in one["subjects"]
        ]
        kind, id = subject["objectTypeName"], subject["objectId"]
        rules = {one["id"] for one in job.schema["synchronizationRules"]}
        members = [one["objectId"] for one in subject.get("links", {}).get("members", [])]
        if rule not in rules or kind not in ("User", "Group") or len(members) > 5:
            raise Refusal(
                400, "BadRequest", "The rule, the type or the number of members is wrong."
            )
        known = self.directory.accounts if kind == "User" else self.directory.groups
        if id not in known:
            return 200, self._outcome(("Failure", "EntryNotFound"), "The object is not there.")
        entra = await job.connect(self.credentials[request.path_params["sp"]], self._transport)
        try:
            if kind == "User":
                found = await job.account_on_demand(entra, id)
            else:
                found = await job.group_on_demand(entra, id, members, removes=self.doubts.removes)
        except (ProvisioningError, httpx.HTTPError) as error:
            return 200, self._outcome(("Failure", code_of(str(error))), str(error))
        return 200, self._outcome(found, "")

    def _outcome(self, outcome: Outcome, message: str) -> dict[str, Any]:
        """The outcome in Graph's form, as JSON in texts."""
        result, code = outcome
        error = {"errorCode": code, "errorMessage": message} if code else {}
        steps = [{"name": "EntrySynchronization", "details": {"SkipReason": code}}] if code else []
        status = {"status": result, "errorCode": code or None, "reason": message or None}
        return {
            "key": json.dumps({"result": result, "details": error})
            if self.doubts.outcome_in_key
            else "Microsoft.Identity.Health.CPP.Common.DataContracts.SyncFabric.StatusInfo",
            "value": json.dumps({"provisioningSteps": steps, "statusInfo": status}),
        }

    # Groups, people, the log.

    async def _groups(self, request: Request) -> Found:
        name = filtered(request, "displayName")
        found = [one.shown for one in self.directory.groups.values() if one.name == name]
        return self._page(request, found)

    async def _one_group(self, request: Request) -> Found:
        asked(request, "$select")
        group = self.directory.groups.get(request.path_params["group"])
        if group is None:
            raise Refusal(404, "Request_ResourceNotFound", "The group does not exist.")
        return 200, group.shown

    async def _members(self, request: Request) -> Found:
        asked(request, "$select", "$skiptoken")
        id = request.path_params["group"]
        if id not in self.directory.groups:
            raise Refusal(404, "Request_ResourceNotFound", "The group does not exist.")
        direct = request.url.path.endswith("/members")
        ids = self.directory.groups[id].members if direct else [*self.directory.below(id)]
        token = request.headers["authorization"].partition(" ")[2]
        hidden = "User.Read.All" not in (self.sign_in.scopes_of(token) or ())
        return self._page(request, [self._member(one, hidden=hidden) for one in ids])

    def _member(self, id: str, *, hidden: bool) -> dict[str, Any]:
        """A member; with `hidden` (no permission to read users), people are shown by id only."""
        account = self.directory.accounts.get(id)
        names = ("accountEnabled", "mail", "givenName", "surname")
        person = (
            {name: None if hidden else account.shown[name] for name in names} if account else {}
        )
        shown = {"id": id, **person}
        kind = "user" if account else "group"
        return (
            {"@odata.type": f"#microsoft.graph.{kind}", **shown}
            if (self.doubts.says_types)
            else shown
        )

    async def _one_user(self, request: Request) -> Found:
        asked(request, "$select")
        account = self.directory.accounts.get(request.path_params["user"])
        if account is None:
            raise Refusal(404, "Request_ResourceNotFound", "The user does not exist.")
        return 200, account.shown

    async def _log(self, request: Request) -> Found:
        if not self.doubts.shows_log:
            raise Refusal(
                403,
                "Authentication_RequestFromNonPremiumTenantOrB2CTenant",
                "Neither tenant is B2C or tenant doesn't have premium license.",
            )
        id = filtered(request, "jobId")
        entries = [one for job in self.jobs.values() if job.id == id for one in job.log]
        return self._page(request, entries[::-1])

    def _page(self, request: Request, found: Sequence[Any]) -> Found:
        at = int(request.query_params.get("$skiptoken", "0"))
        size = self.pace.page
        page: dict[str, Any] = {"value": list(found[at : at + size])}
        if at + size < len(found):
            url = request.url.include_query_params(**{"$skiptoken": at + size})
            page["@odata.nextLink"] = self.base + url.path + "?" + url.query
        return 200, page


def code_of(failure: str) -> str:
    """The code of a failure in Entra ID's provisioning log."""
    if failure.startswith("DuplicateTargetEntries"):
        return "DuplicateTargetEntries"
    return "Unauthorized" if " 403" in failure else "EntryConflict"


def refused(refusal: Refusal) -> Response:
    """The answer to a refused request."""
    inner = {"date": "2026-11-30T08:00:00", "request-id": str(uuid.uuid4())}
    error = {"code": refusal.code, "message": str(refusal), "innerError": inner}
    return JSONResponse({"error": error}, refusal.status, refusal.headers)


def asked(request: Request, *known: str) -> None:
    """Raises Refusal for an unknown parameter."""
    if unknown := set(request.query_params) - set(known):
        raise Refusal(400, "BadRequest", f"The query option {min(unknown)} is not known.")


def filtered(request: Request, name: str) -> str:
    """The value of `$filter=name eq 'value'`. Raises Refusal for any other filter."""
    asked(request, "$filter", "$select", "$skiptoken")
    found = re.fullmatch(rf"{name} eq '((?:[^']|'')*)'", request.query_params.get("$filter", ""))
    if found is None:
        raise Refusal(400, "Request_UnsupportedQuery", "The filter is not supported.")
    return found[1].replace("''", "'")


async def sent(request: Request, *needed: str, optional: Sequence[str] = ()) -> dict[str, Any]:
    """The body, an object with these keys. Raises Refusal."""
    try:
        body = await request.json()
    except ValueError:
        raise Refusal(400, "BadRequest", "The body is no JSON.") from None
    keys = set(body) if isinstance(body, dict) else set()
    if not set(needed) <= keys or keys - set(needed) - set(optional):
        raise Refusal(400, "BadRequest", f"The body must have {', '.join(needed)}.")
    found: dict[str, Any] = body
    return found


def pairs(values: list[dict[str, str]], known: set[str]) -> dict[str, str]:
    """Key → value. Raises Refusal for an unknown key."""
    found = {one["key"]: one["value"] for one in values}
    if unknown := found.keys() - known:
        raise Refusal(400, "BadRequest", f"The key {min(unknown)} is not known.")
    return found


def clauses(schema: dict[str, Any]) -> list[dict[str, Any]]:
    """Every clause of the schema's scoping filters."""
    return [
        clause
        for rule in schema["synchronizationRules"]
        for mapping in rule["objectMappings"]
        for group in (mapping.get("scope") or {}).get("groups") or []
        for clause in group["clauses"]
    ]
