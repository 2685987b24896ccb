#!/usr/bin/env python3
"""Sets up Muster in Microsoft Entra ID, and checks whether both still agree.

    python3 muster_entra.py setup --group "Facility managers" --group "Receptionists"
    python3 muster_entra.py check
    python3 muster_entra.py audit
    python3 muster_entra.py repair

`setup` makes the Enterprise Application, its credentials, its provisioning job, the mappings and
the assignments, tests them with one person and one group, and starts the job. It can be run again
at any time: it finds what it made and mends what differs. `check` looks at the job and its
mappings. `audit` compares groups, members and people in Entra ID with those in Muster. `repair`
lets Entra ID provision what differs. `--dry-run` only says what would be done.

It needs Python 3.9 or later and nothing else, so it runs as it is in Azure Cloud Shell. It speaks
only to Microsoft Graph, to Microsoft's sign-in service and to Muster. Tokens are held in memory
only, and never shown. Secrets are read from the environment or asked for. There are no options for
them, because everybody on a machine can read its processes' options:

    MUSTER_SECRET_TOKEN   the Secret Token that Entra ID is to send (setup); Muster is read with it
    MUSTER_OAUTH_SECRET   the client secret, with --oauth-client (setup)
    MUSTER_TOKEN          a SCIM token to read Muster with, if not the Secret Token
    MUSTER_API_TOKEN      a token of the console's API, to read what each group gives and which
                          tokens expire
    GRAPH_TOKEN           a token for Microsoft Graph, instead of signing in

What Graph does is documented at https://learn.microsoft.com/graph/api/resources/synchronization-overview.
Where it is ambiguous, both behaviours are handled, and the comment says "either way".
"""

from __future__ import annotations

import argparse
import copy
import functools
import getpass
import http.client
import json
import os
import re
import sys
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

# Muster's console fills these in. Options and the environment override them.

FILLED_IN = {
    "tenant_url": "",  # https://eu.muster.example.com/scim
    "name": "Muster",  # of the Enterprise Application
    "directory": "organizations",  # the directory (tenant) id of the Entra ID
    "token": "",  # a SCIM token to read Muster with; valid for an hour
    "api_token": "",  # of the console's API; valid for an hour
}

# Names and ids that Microsoft defines.

GRAPH = "https://graph.microsoft.com"
SIGN_IN = "https://login.microsoftonline.com"
COMMAND_LINE_TOOLS = "14d82eec-204b-4c2f-b7e8-296a70dab67e"
"""The public client "Microsoft Graph Command Line Tools"."""
NON_GALLERY = "8adf8e6e-67b2-4cf2-a259-e3dc5476c621"
"""The application template of every application that is not in the gallery."""
NO_ROLE = "00000000-0000-0000-0000-000000000000"
WRITING = (
    "Application.ReadWrite.All Synchronization.ReadWrite.All AppRoleAssignment.ReadWrite.All "
    "Group.Read.All User.Read.All"
)
READING = (
    "Application.Read.All GroupMember.Read.All User.Read.All Synchronization.Read.All "
    "ProvisioningLog.Read.All"
)
REPAIRING = "Application.Read.All GroupMember.Read.All User.Read.All Synchronization.ReadWrite.All"
MEMBERS_ON_DEMAND = 5
"""The most members of a group that one request provisions on demand."""

# The mappings of docs/entra.md: target in Muster, source in Entra ID, and matching precedence
# (0: not used for matching).

USER_MAPPINGS = (
    ("externalId", "objectId", 1),
    ('emails[type eq "work"].value', "mail", 2),
    ("userName", "userPrincipalName", 0),
    ("name.givenName", "givenName", 0),
    ("name.familyName", "surname", 0),
)
GROUP_MAPPINGS = (("externalId", "objectId", 1), ("displayName", "displayName", 0))
ACTIVE = 'Switch([IsSoftDeleted], , "False", "True", "True", "False")'
"""False for people who are unassigned, filtered out, deleted or disabled. A mapping of
accountEnabled alone misses those who are unassigned or filtered out."""
PEOPLE_HAVE = ("mail", "givenName", "surname")
"""Attributes of people's accounts. An account that lacks one belongs to a room, a device or a
service, and stays out of scope."""
UNARY_NOT_NULL = ("ISNOTNULL", "NOTNULL", "ISPRESENT", "PRESENT")


class Problem(Exception):
    """An error that stops the run: what was wrong and where, and what to do."""

    def __init__(self, wrong: str, remedy: str, code: str = "", status: int = 0) -> None:
        super().__init__(wrong)
        self.wrong = wrong
        self.remedy = remedy
        self.code = code
        self.status = status


# Requests, and the user at the terminal.


@dataclass
class Answer:
    """The answer to a request."""

    status: int
    headers: dict[str, str]
    body: bytes

    def json(self) -> dict[str, Any]:
        """The body as a JSON object; empty where it is not one."""
        try:
            found = json.loads(self.body)
        except ValueError:
            return {}
        return found if isinstance(found, dict) else {}


class Terminal:
    """The outside world: requests, waiting, and the user at the terminal."""

    def __init__(self) -> None:
        self.hidden: set[str] = set()
        """Secrets, which are removed from every text that is shown."""
        self.quiet = False
        """Whether stdout is reserved for JSON."""
        self.environment: dict[str, str] = dict(os.environ)

    def send(self, method: str, url: str, headers: dict[str, str], body: bytes | None) -> Answer:
        """Send one request. Redirects are not followed, because a token must not go to another
        host. Raises OSError where there is no answer."""
        request = urllib.request.Request(url, body, headers, method=method)
        try:
            with _opener().open(request, timeout=100) as answer:
                return Answer(answer.status, _lower(answer.headers), answer.read())
        except urllib.error.HTTPError as error:
            return Answer(error.code, _lower(error.headers), error.read())
        except http.client.HTTPException as error:
            raise OSError(f"the answer was cut off: {error}") from None

    def pause(self, seconds: float) -> None:
        """Wait."""
        time.sleep(seconds)

    def say(self, text: str) -> None:
        """Show a line."""
        print(self.safe(text), file=sys.stderr if self.quiet else sys.stdout, flush=True)

    def give(self, text: str) -> None:
        """Print output for programs."""
        print(self.safe(text), flush=True)

    def ask(self, question: str) -> str:
        """Ask the user; returns the answer."""
        return input(question)

    def ask_secret(self, question: str) -> str:
        """Ask the user for a secret, without showing what is typed."""
        return getpass.getpass(question)

    def hide(self, secret: str) -> str:
        """Remember a secret, so that it is never shown; returns it."""
        if secret:
            self.hidden.add(secret)
        return secret

    def safe(self, text: str) -> str:
        """A text without secrets."""
        for secret in self.hidden:
            text = text.replace(secret, "***")
        return text


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *_: Any) -> None:
        """None: the redirect is the answer."""


@functools.cache
def _opener() -> urllib.request.OpenerDirector:
    """The URL opener, made once because it reads this machine's certificates."""
    return urllib.request.build_opener(_NoRedirect)


def _lower(headers: Any) -> dict[str, str]:
    return {name.lower(): value for name, value in headers.items()}


class Service:
    """A JSON API with a bearer token. It waits as long as Retry-After says, and repeats requests
    that are safe to repeat."""

    def __init__(self, terminal: Terminal, name: str, base: str, token: str) -> None:
        self.terminal = terminal
        self.name = name
        self.base = checked(base, name)
        self._token = terminal.hide(token)

    def call(
        self, method: str, path: str, body: Any = None, media_type: str = "application/json"
    ) -> Answer:
        """The answer, whatever its status. Raises Problem where there is none."""
        url = path if path.startswith("http") else self.base + path
        if not url.startswith(self.base + "/"):
            raise Problem(
                f"{self.name} names a page at another host: {url}.",
                "Report it to the person who gave you this program; nothing was sent there.",
            )
        headers = {"Accept": "application/json", "User-Agent": "muster-entra"}
        if self._token:
            headers["Authorization"] = f"Bearer {self._token}"
        content = None
        if body is not None:
            content = json.dumps(body).encode()
            headers["Content-Type"] = media_type
        return patiently(self.terminal, self.name, method, url, headers, content)

    def get(self, path: str) -> dict[str, Any]:
        """A document. Raises Problem for any other answer than 200."""
        return self.expect(self.call("GET", path), f"GET {path}").json()

    def send(self, method: str, path: str, body: Any = None) -> dict[str, Any]:
        """A change that must succeed. Raises Problem."""
        return self.expect(self.call(method, path, body), f"{method} {path}").json()

    def expect(self, answer: Answer, what: str) -> Answer:
        """The answer, if it is a success. Raises Problem."""
        if 200 <= answer.status < 300:
            return answer
        raise refusal(self.name, what, answer)


class Graph(Service):
    """Microsoft Graph."""

    def pages(self, path: str) -> Iterator[dict[str, Any]]:
        """All items of a collection."""
        at: str | None = path
        while at:
            page = self.get(at)
            yield from page.get("value", [])
            at = page.get("@odata.nextLink")

    def soon(self, call: Callable[[], Any]) -> Any:
        """The answer of a call about something that was made a moment ago. It repeats the call for
        a while, because not all of Graph's servers know it at once."""
        for seconds in (2, 3, 5, 5, 10, 10, 15, 15):
            try:
                return call()
            except Problem as problem:
                if problem.status != 404 and problem.code != "Request_ResourceNotFound":
                    raise
            self.terminal.pause(seconds)
        return call()


def patiently(
    terminal: Terminal,
    name: str,
    method: str,
    url: str,
    headers: dict[str, str],
    content: bytes | None,
) -> Answer:
    """The answer to a request, which is repeated while it is throttled or the server is
    unavailable. A POST without an answer is not repeated, because it may have taken effect. Raises
    Problem where there is no answer."""
    failures = 0
    for _ in range(30):
        try:
            answer = terminal.send(method, url, headers, content)
        except OSError as error:
            failures += 1
            if method == "POST" or failures == 3:
                raise Problem(
                    f"{name} does not answer at {url} ({getattr(error, 'reason', error)}).",
                    "See that this machine reaches it, then run the same command again: it goes on "
                    "where it stopped.",
                ) from None
            terminal.pause(2 * failures)
            continue
        if answer.status == 429 or (answer.status == 503 and "retry-after" in answer.headers):
            terminal.pause(_seconds(answer.headers.get("retry-after", "")))
            continue
        if answer.status >= 500 and method != "POST" and failures < 3:
            failures += 1
            terminal.pause(2 * failures)
            continue
        return answer
    raise Problem(f"{name} asks for patience at {url}, again and again.", "Run it again later.")


def _seconds(retry_after: str) -> float:
    """Seconds to wait; without Retry-After, the period of the limit on provisioning on demand."""
    return float(retry_after) if re.fullmatch(r"[0-9]{1,4}", retry_after) else 10.0


REMEDIES = {
    "InvalidAuthenticationToken": "The sign-in has ended: run the command again and sign in.",
    "Authorization_RequestDenied": "Sign in as an Application Administrator or Cloud Application "
    "Administrator; the permissions that the sign-in asked for must have been accepted.",
    "CredentialValidationUnavailable": "Entra ID called the Tenant URL with these credentials and "
    "got an error. Look whether Tenant URL and secret are as Muster shows them, then run it again.",
    "Unauthorized": "Muster refused the credentials, or provisioning is not enabled there for this "
    "organisation: enable it in Muster's console, then run it again.",
    "DuplicateTargetEntries": "Two users in Muster match: have one of them removed or corrected.",
    "NotEffectivelyEntitled": "Assign the group to the Enterprise Application.",
    "NotInScope": "The account has no mail, given name or surname: fill them in.",
}


def refusal(name: str, what: str, answer: Answer) -> Problem:
    """The error in an unsuccessful answer. Graph, SCIM and Muster's API each have their own
    form."""
    body = answer.json()
    error = body.get("error")
    if isinstance(error, dict):
        code, text = str(error.get("code", "")), str(error.get("message", ""))
    else:
        code = str(body.get("scimType") or error or "")
        text = str(body.get("detail") or body.get("error_description") or answer.body[:200])
    remedy = REMEDIES.get(code, "")
    if not remedy and answer.status in (401, 403):
        remedy = f"The token for {name} does not allow it: check that it is right and still valid."
        if name == "Muster":
            remedy += (
                " The one that Muster's console wrote into this program is valid for an hour: "
            )
            remedy += "download the program again."
    where = f"{name} answered {answer.status} {code}".rstrip()
    return Problem(
        f"{where} to {what}: {text}",
        remedy or "Correct what it names, then run the same command again.",
        code,
        answer.status,
    )


def checked(url: str, name: str) -> str:
    """A base URL without a trailing slash. Raises Problem unless it is HTTPS or on this machine,
    because tokens are sent there."""
    parts = urllib.parse.urlsplit(url)
    local = parts.hostname in ("localhost", "127.0.0.1", "::1")
    if not parts.hostname or (parts.scheme != "https" and not (local and parts.scheme == "http")):
        raise Problem(f"{name}: {url!r} is no https:// URL.", "Give it as Muster's console has it.")
    return urllib.parse.urlunsplit((parts.scheme, parts.netloc, parts.path.rstrip("/"), "", ""))


def quoted(text: str) -> str:
    """A text quoted for a filter of Graph, in a URL."""
    return urllib.parse.quote("'" + text.replace("'", "''") + "'", safe="'")


# Signing in: the device code flow (RFC 8628).


def sign_in(terminal: Terminal, options: argparse.Namespace, scopes: str) -> str:
    """A token for Graph: the one in the environment, or one that the user signs in for. Raises
    Problem."""
    if options.graph_token:
        return str(options.graph_token)
    directory = urllib.parse.quote(options.directory, safe="")
    base = f"{checked(options.sign_in_url, 'The sign-in service')}/{directory}/oauth2/v2.0"
    asked = " ".join(f"{options.graph_url}/{scope}" for scope in scopes.split())
    device = _form(terminal, f"{base}/devicecode", client_id=COMMAND_LINE_TOOLS, scope=asked)
    if device.status != 200:
        raise refusal("The sign-in service", "POST devicecode", device)
    code = device.json()
    terminal.hide(code["device_code"])
    terminal.say(f"Open {code['verification_uri']} in a browser and enter {code['user_code']}.")
    interval, left = float(code.get("interval", 5)), float(code.get("expires_in", 900))
    while left > 0:
        terminal.pause(interval)
        left -= interval
        answer = _form(
            terminal,
            f"{base}/token",
            grant_type="urn:ietf:params:oauth:grant-type:device_code",
            client_id=COMMAND_LINE_TOOLS,
            device_code=code["device_code"],
        )
        found = answer.json()
        if answer.status == 200:
            return terminal.hide(str(found["access_token"]))
        if found.get("error") == "slow_down":
            interval += 5
        elif found.get("error") != "authorization_pending":
            break
    raise Problem(
        "Nobody signed in, or the sign-in was refused.",
        "Run it again and sign in as an Application Administrator of the directory.",
    )


def _form(terminal: Terminal, url: str, **fields: str) -> Answer:
    headers = {"Content-Type": "application/x-www-form-urlencoded", "Accept": "application/json"}
    content = urllib.parse.urlencode(fields).encode()
    return patiently(terminal, "The sign-in service", "POST", url, headers, content)


# The mappings of a provisioning job.


@dataclass
class Mended:
    """A corrected schema."""

    schema: dict[str, Any]
    changes: list[str] = field(default_factory=list)
    """What was wrong, and is corrected in it."""
    left: list[str] = field(default_factory=list)
    """What the program cannot correct, and what to do about it."""


def mend(schema: dict[str, Any], not_null: str | None, template: dict[str, Any] | None) -> Mended:
    """A job's schema, corrected to the mappings above; everything else in it stays. `not_null` is
    the scoping operator for IS NOT NULL and `template` the schema that Entra ID began with, as far
    as they are known. Raises Problem where users or groups have no mapping at all."""
    mended = Mended(copy.deepcopy(schema))
    user = object_mapping(mended.schema, "User")
    group = object_mapping(mended.schema, "Group")
    for mapping, people, wanted in (
        (user, "users", USER_MAPPINGS),
        (group, "groups", GROUP_MAPPINGS),
    ):
        _switched_on(mapping, people, mended)
        for target, source, priority in wanted:
            _mend_attribute(mapping, people, target, source, priority, mended)
        _no_other_match(mapping, people, {target for target, _, _ in wanted}, mended)
    _keep_original(user, "users", "active", template, mended, _is_active)
    _keep_original(group, "groups", "members", template, mended, _is_members)
    _mend_scope(user, not_null, mended)
    if group.get("scope") and group["scope"].get("groups"):
        group["scope"]["groups"] = []
        mended.changes.append("groups: a scoping filter keeps groups out; assignments choose them")
    return mended


def object_mapping(schema: dict[str, Any], source: str) -> dict[str, Any]:
    """The mapping of users or of groups, see `rule_and_mapping`."""
    return rule_and_mapping(schema, source)[1]


def rule_and_mapping(schema: dict[str, Any], source: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """The mapping of users or of groups and its rule, chosen by the name of the object type in
    Entra ID. Raises Problem."""
    rule: dict[str, Any]
    mapping: dict[str, Any]
    for rule in schema.get("synchronizationRules", []):
        for mapping in rule.get("objectMappings", []):
            if str(mapping.get("sourceObjectName", "")).lower() == source.lower():
                return rule, mapping
    raise Problem(
        f"The job's schema has no mapping of {source.lower()}s.",
        'In the Entra admin center, Provisioning, Attribute mapping: "Restore default mappings", '
        "then run setup again.",
    )


def _switched_on(mapping: dict[str, Any], people: str, mended: Mended) -> None:
    if mapping.get("enabled") is False:
        mapping["enabled"] = True
        mended.changes.append(f"{people}: their mapping was switched off")
    flows = {flow.strip() for flow in str(mapping.get("flowTypes", "")).split(",")}
    if not {"Add", "Update", "Delete"} <= flows:
        mapping["flowTypes"] = "Add,Update,Delete"
        mended.changes.append(f"{people}: not all of create, update and delete were provisioned")


def attributes_of(mapping: dict[str, Any], target: str) -> list[dict[str, Any]]:
    """The mappings to one attribute in Muster; names are compared without case."""
    return [
        each
        for each in mapping.get("attributeMappings", [])
        if str(each.get("targetAttributeName", "")).lower() == target.lower()
    ]


def _mend_attribute(
    mapping: dict[str, Any], people: str, target: str, source: str, priority: int, mended: Mended
) -> None:
    found = attributes_of(mapping, target)
    if not found:
        mapping.setdefault("attributeMappings", []).append(new_attribute(target, source, priority))
        mended.changes.append(f"{people}: {target} was not mapped; it comes from {source}")
        return
    attribute, *others = found
    for other in others:
        mapping["attributeMappings"].remove(other)
        mended.changes.append(f"{people}: {target} was mapped more than once")
    said = attribute.get("source") or {}
    if said.get("type") != "Attribute" or said.get("name") != source:
        attribute["source"] = new_attribute(target, source, priority)["source"]
        came = said.get("expression") or said.get("name") or "nothing"
        mended.changes.append(f"{people}: {target} came from {came} instead of {source}")
    if attribute.get("matchingPriority") != priority:
        was = attribute.get("matchingPriority")
        attribute["matchingPriority"] = priority
        mended.changes.append(
            f"{people}: {target} had matching precedence {was} instead of {priority}"
        )
    if attribute.get("flowType", "Always") != "Always":
        attribute["flowType"] = "Always"
        mended.changes.append(f"{people}: {target} was sent only when a user is created")
    if attribute.get("defaultValue"):
        attribute["defaultValue"] = None
        mended.changes.append(
            f"{people}: {target} had a default value, which all users would share"
        )


def new_attribute(target: str, source: str, priority: int) -> dict[str, Any]:
    """A direct mapping in Graph's form."""
    return {
        "targetAttributeName": target,
        "matchingPriority": priority,
        "flowType": "Always",
        "flowBehavior": "FlowWhenChanged",
        "defaultValue": None,
        "exportMissingReferences": False,
        "source": {
            "type": "Attribute",
            "name": source,
            "expression": f"[{source}]",
            "parameters": [],
        },
    }


def _no_other_match(mapping: dict[str, Any], people: str, wanted: set[str], mended: Mended) -> None:
    known = {target.lower() for target in wanted}
    for attribute in mapping.get("attributeMappings", []):
        target = str(attribute.get("targetAttributeName", ""))
        if attribute.get("matchingPriority") and target.lower() not in known:
            attribute["matchingPriority"] = 0
            mended.changes.append(f"{people}: they were matched by {target}")


def _is_active(attribute: dict[str, Any]) -> bool:
    expression = str((attribute.get("source") or {}).get("expression", ""))
    return re.sub(r"\s", "", expression) == re.sub(r"\s", "", ACTIVE)


def _is_members(attribute: dict[str, Any]) -> bool:
    return (attribute.get("source") or {}).get("name") == "members"


def _keep_original(
    mapping: dict[str, Any],
    people: str,
    target: str,
    template: dict[str, Any] | None,
    mended: Mended,
    right: Callable[[dict[str, Any]], bool],
) -> None:
    """Restores Entra ID's own mapping of an attribute from the template, where it was changed."""
    found = attributes_of(mapping, target)
    whole = bool(found) and found[0].get("flowType", "Always") == "Always"
    if len(found) == 1 and whole and right(found[0]) and not found[0].get("matchingPriority"):
        return
    said = (found[0].get("source") or {}).get("expression", "") if found else "nothing"
    wrong = f"{people}: {target} is mapped from {said or 'nothing'} instead of Entra ID's default"
    source = "User" if people == "users" else "Group"
    original = attributes_of(object_mapping(template, source), target) if template else []
    # Either way: Graph may not show the template's schema.
    if not original or not right(original[0]):
        mended.left.append(
            f"{wrong}. In the Entra admin center, Provisioning, Attribute mapping, set it to "
            f"{ACTIVE if target == 'active' else 'members'}"
        )
        return
    for each in found:
        mapping["attributeMappings"].remove(each)
    mapping["attributeMappings"].append(copy.deepcopy(original[0]))
    mended.changes.append(wrong)


def _mend_scope(mapping: dict[str, Any], not_null: str | None, mended: Mended) -> None:
    """Keeps accounts without mail, given name or surname out of scope. All clauses of a group must
    hold, but one of several groups is enough, so each group gets the three clauses. The customer's
    own clauses stay."""
    if not_null is None:
        # Either way: Graph may list no operator for IS NOT NULL.
        mended.left.append(SCOPE_BY_HAND)
        return
    scope = mapping.get("scope") or {}
    groups = scope.get("groups") or []
    ours = [{"sourceOperandName": name, "operatorName": not_null} for name in PEOPLE_HAVE]
    there = [[_plain(clause) for clause in group.get("clauses", [])] for group in groups]
    own = [
        [clause for clause in group.get("clauses", []) if _plain(clause) not in ours]
        for group in groups
    ]
    whole = all(clause in clauses for clauses in there for clause in ours)
    if groups and whole and (len(groups) == 1 or all(own)):
        return
    people = [{**clause, "targetOperand": {"values": []}} for clause in ours]
    kept = [
        {**group, "clauses": [*copy.deepcopy(people), *rest]}
        for group, rest in zip(groups, own)
        if rest
    ]
    mapping["scope"] = {
        "inputFilterGroups": [],
        "categoryFilterGroups": [],
        **scope,
        "groups": kept or [{"name": "People only", "clauses": people}],
    }
    mended.changes.append(
        "users: a user who passes one of several scoping filters is in scope"
        if len(groups) > 1
        else "users: no scoping filter keeps accounts out that have no mail, given name or surname"
    )


def _plain(clause: dict[str, Any]) -> dict[str, Any]:
    """The part of a clause that a unary operator needs."""
    return {name: clause.get(name) for name in ("sourceOperandName", "operatorName")}


SCOPE_BY_HAND = (
    "users: Graph lists no operator for scoping filters that means IS NOT NULL. In the Entra admin "
    "center, Attribute mapping, Users, Source object scope, make one filter with three clauses: "
    "mail, givenName and surname IS NOT NULL"
)


# What is in Entra ID.


class Directory:
    """An Enterprise Application and its provisioning job, found or made."""

    def __init__(self, graph: Graph, name: str) -> None:
        self.graph = graph
        self.name = name
        self.principal: dict[str, Any] = {}
        self.template = ""
        self.job: dict[str, Any] = {}

    @property
    def root(self) -> str:
        """The path of its synchronization."""
        return f"/servicePrincipals/{self.principal['id']}/synchronization"

    @property
    def job_path(self) -> str:
        """The path of its job."""
        return f"/v1.0{self.root}/jobs/{self.job['id']}"

    def find(self) -> None:
        """Look for the application and its job. Raises Problem where another application has the
        name."""
        fields = "id,appId,displayName,appRoles,applicationTemplateId"
        named = f"$filter=displayName%20eq%20{quoted(self.name)}"
        path = f"/v1.0/servicePrincipals?{named}&$select={fields}"
        found = list(self.graph.pages(path))
        # Either way: not every principal names the template that it was made from.
        ours = [one for one in found if one.get("applicationTemplateId") in (None, NON_GALLERY)]
        if len(ours) > 1:
            ids = ", ".join(str(one["id"]) for one in ours)
            raise Problem(
                f"There are {len(ours)} Enterprise Applications named {self.name!r} ({ids}).",
                "Delete or rename the wrong ones, or give another name with --name.",
            )
        if found and not ours:
            raise Problem(
                f"The Enterprise Application {self.name!r} is of another kind (it comes from the "
                "gallery).",
                "Give another name with --name.",
            )
        if ours:
            self.principal = ours[0]

    def need(self) -> None:
        """Find both. Raises Problem where either is missing."""
        self.find()
        if not self.principal:
            raise Problem(
                f"There is no Enterprise Application named {self.name!r}.",
                "Run setup first, or give its name with --name.",
            )
        self.find_template()
        self.find_job()
        if not self.job:
            raise Problem(
                f"The Enterprise Application {self.name!r} has no provisioning job.",
                "Run setup: it makes one.",
            )

    def find_template(self) -> None:
        """The template of the job. Either way: its id is `scim`, or the older name
        `customappsso`."""
        path = f"/v1.0{self.root}/templates"
        known = [str(one["id"]) for one in self.graph.soon(lambda: list(self.graph.pages(path)))]
        for name in ("scim", "customappsso"):
            if name in known:
                self.template = name
                return
        raise Problem(
            f"The application offers no SCIM provisioning, but {', '.join(known) or 'nothing'}.",
            "Give another name with --name, so that setup makes a new application.",
        )

    def find_job(self) -> None:
        """Its provisioning job."""
        for job in self.graph.pages(f"/v1.0{self.root}/jobs"):
            if job.get("templateId") == self.template:
                self.job = job
                return

    def schema(self) -> dict[str, Any]:
        """The job's schema."""
        found: dict[str, Any] = self.graph.soon(lambda: self.graph.get(f"{self.job_path}/schema"))
        return {name: part for name, part in found.items() if not name.startswith("@odata")}

    def mended(self) -> Mended:
        """The job's corrected schema."""
        return mend(self.schema(), self.not_null(), self.original())

    def not_null(self) -> str | None:
        """The operator of scoping filters that means "is not null". Either way: Graph lists it by
        some name; or operators cannot be listed, and the portal's name is used."""
        answer = self.graph.call("GET", f"{self.job_path}/schema/filterOperators")
        if answer.status != 200:
            return "IS NOT NULL"
        for one in answer.json().get("value", []):
            plain = re.sub(r"[^A-Z]", "", str(one.get("name", "")).upper())
            if plain in UNARY_NOT_NULL and str(one.get("arity", "Unary")).lower() == "unary":
                return str(one["name"])
        return None

    def original(self) -> dict[str, Any] | None:
        """The schema that Entra ID began with. Either way: it may not be shown."""
        answer = self.graph.call("GET", f"/v1.0{self.root}/templates/{self.template}/schema")
        return answer.json() if answer.status == 200 else None

    def status(self) -> dict[str, Any]:
        """The job as it is now."""
        self.job = self.graph.get(self.job_path)
        return self.job

    def assigned(self) -> list[dict[str, Any]]:
        """Assignments of groups and people."""
        path = f"/v1.0/servicePrincipals/{self.principal['id']}/appRoleAssignedTo"
        return list(self.graph.pages(path))

    def group(self, named: str) -> dict[str, Any]:
        """A group by id or name. Raises Problem."""
        fields = "$select=id,displayName,securityEnabled"
        if re.fullmatch(r"[0-9a-fA-F-]{36}", named):
            return self.graph.get(f"/v1.0/groups/{named}?{fields}")
        path = f"/v1.0/groups?$filter=displayName%20eq%20{quoted(named)}&{fields}"
        found = list(self.graph.pages(path))
        if len(found) == 1:
            return dict(found[0])
        ids = ", ".join(str(one["id"]) for one in found)
        raise Problem(
            f"{len(found)} groups are named {named!r}{': ' if ids else ''}{ids}.",
            "Give the group's object id with --group.",
        )

    def members(self, group: str, kind: str = "members") -> list[dict[str, Any]]:
        """Direct members of a group, as Entra ID provisions them, or all (`transitiveMembers`)."""
        path = f"/v1.0/groups/{group}/{kind}?$select=id,accountEnabled,mail,givenName,surname"
        return [known(one) for one in self.graph.pages(path)]

    def provision(
        self, schema: dict[str, Any], subject: str, kind: str, members: list[str] | None = None
    ) -> tuple[bool, str]:
        """Provision one person or group now; returns whether both sides agree, and Entra ID's
        message."""
        one: dict[str, Any] = {"objectId": subject, "objectTypeName": kind}
        if members:
            linked = [{"objectId": id, "objectTypeName": "User"} for id in members]
            one["links"] = {"members": linked}
        rule, _ = rule_and_mapping(schema, kind)
        parameters = [{"ruleId": rule["id"], "subjects": [one]}]
        path = f"{self.job_path}/provisionOnDemand"
        return outcome(self.graph.send("POST", path, {"parameters": parameters}))


def outcome(answer: dict[str, Any]) -> tuple[bool, str]:
    """The result of provisioning on demand. The status is always 200; the result is JSON inside the
    answer's texts. Either way: `key` has it in short, or else the steps in `value` do."""
    short, long = _inner(answer.get("key")), _inner(answer.get("value"))
    result = str(short.get("result") or (long.get("statusInfo") or {}).get("status") or "")
    details = short.get("details") or {}
    status = long.get("statusInfo") or {}
    code = str(details.get("errorCode") or status.get("errorCode") or "")
    if not code:
        steps = [step.get("details") or {} for step in long.get("provisioningSteps") or []]
        code = next((str(one["SkipReason"]) for one in steps if one.get("SkipReason")), "")
    text = str(details.get("errorMessage") or status.get("reason") or "")
    if result == "Success" or code == "RedundantExport":
        return True, "in step already" if code == "RedundantExport" else "provisioned"
    return False, f"{result or 'no result'} {code}: {text}. {REMEDIES.get(code, '')}".strip()


def _inner(text: Any) -> dict[str, Any]:
    """The JSON object in a text; of a list its first element."""
    try:
        found = json.loads(text) if isinstance(text, str) else text
    except ValueError:
        return {}
    if isinstance(found, list):
        found = found[0] if found else {}
    return found if isinstance(found, dict) else {}


def in_scope(person: dict[str, Any]) -> bool:
    """Whether Entra ID provisions an account, see PEOPLE_HAVE."""
    return all(str(person.get(name) or "").strip() for name in PEOPLE_HAVE)


def known(person: dict[str, Any]) -> dict[str, Any]:
    """The member, if Graph shows accountEnabled. Without the permission to read users, Graph hides
    it, and everybody would seem to be disabled: raises Problem then."""
    if is_of(person, "user") and not isinstance(person.get("accountEnabled"), bool):
        raise Problem(
            f"Graph does not show whether the member {person.get('id')} is enabled.",
            "The sign-in needs the permission User.Read.All: run it again and accept it, or have "
            "an administrator accept it for the organisation.",
        )
    return person


def is_of(member: dict[str, Any], kind: str) -> bool:
    """Whether a member is of a kind: a user or a group. Either way: Graph does not always name the
    type; then an object with a user's attributes counts as a user."""
    said = str(member.get("@odata.type", "")).lower()
    guessed = "#microsoft.graph.user" if "accountEnabled" in member else "#microsoft.graph.group"
    return (said or guessed) == f"#microsoft.graph.{kind}"


# setup


class Setup:
    """All that one organisation needs in Entra ID. Each step looks first, and changes what differs.
    All steps run twice: first to say what will be done (`making` False), then to do it."""

    def __init__(self, directory: Directory, options: argparse.Namespace) -> None:
        self.directory = directory
        self.graph = directory.graph
        self.terminal = directory.graph.terminal
        self.options = options
        self.making = False
        self.planned = 0
        self.green: list[str] = []
        self.amber: list[str] = []
        self.groups: list[dict[str, Any]] = []

    def run(self, *, making: bool) -> None:
        """Every step. Raises Problem."""
        self.making, self.planned, self.green, self.amber = making, 0, [], []
        for step in (
            self.choose_groups,
            self.application,
            self.connection,
            self.job,
            self.mappings,
            self.assignments,
            self.proof,
            self.start,
        ):
            step()

    def write(self, method: str, path: str, body: Any = None) -> dict[str, Any]:
        """A change of something that may have been made a moment ago. Raises Problem."""
        found: dict[str, Any] = self.graph.soon(lambda: self.graph.send(method, path, body))
        return found

    def will(self, text: str) -> bool:
        """Show what will be done; returns whether to do it now."""
        self.planned += 1
        self.terminal.say(f"{'...' if self.making else '  +'} {text}")
        return self.making

    def done(self, text: str) -> None:
        """Show what is right."""
        self.green.append(text)
        if not self.making:
            self.terminal.say(f"  = {text}")

    def doubt(self, text: str) -> None:
        """Show what needs attention."""
        self.amber.append(text)
        if not self.making:
            self.terminal.say(f"  ! {text}")

    def choose_groups(self) -> None:
        """Look for the groups first, so that a wrong name stops the run before anything is made."""
        self.groups = [self.directory.group(named) for named in self.options.group]
        for group in self.groups:
            if group.get("securityEnabled") is False:
                self.doubt(
                    f"The group {group['displayName']!r} is not security-enabled, and Entra ID "
                    "does not provision it: assign another one"
                )

    def application(self) -> None:
        """The Enterprise Application."""
        directory = self.directory
        if not directory.principal:
            directory.find()
        if not directory.principal and self.making:
            # an earlier run may have made it a moment ago, and lists may not show it yet
            self.terminal.pause(10)
            directory.find()
        if directory.principal:
            directory.find_template()
            directory.find_job()
            self.done(f"Enterprise Application {directory.name!r}")
            return
        if self.will(f"Make the Enterprise Application {directory.name!r}"):
            path = f"/v1.0/applicationTemplates/{NON_GALLERY}/instantiate"
            made = self.graph.send("POST", path, {"displayName": directory.name})
            directory.principal = made["servicePrincipal"]
            directory.find_template()
            self.done(f"Enterprise Application {directory.name!r}, new")

    def connection(self) -> None:
        """Tenant URL and credentials: tested, saved, and tested as saved."""
        # without options for credentials, those of an existing job are left alone
        kind = self.options.credentials or ("kept" if self.directory.job else "blank")
        if kind == "kept":
            if not self.making:
                self.done("Credentials, left as they are")
                return
        elif not self.will(f"Save {self.options.tenant_url} and {CREDENTIALS[kind]}"):
            return
        if kind == "oauth":
            self.save_oauth()
        elif kind != "kept":
            self.save_secrets("" if kind == "blank" else self.options.secret_token)
        path = f"/beta{self.directory.root}/jobs/validateCredentials"
        body = {"templateId": self.directory.template, "useSavedCredentials": True}
        self.write("POST", path, body)
        self.done(f"Test Connection with {CREDENTIALS[kind]}")

    def save_secrets(self, token: str) -> None:
        """Save a secret token, or none. Either way: a blank token is left out, or sent as an empty
        text."""
        address = {"key": "BaseAddress", "value": self.options.tenant_url}
        forms: list[list[dict[str, str]]]
        forms = [[address, {"key": "SecretToken", "value": token}]]
        if not token:
            forms.insert(0, [address])
        credentials = self.first_valid(forms)
        settings = [
            {
                "key": "SyncNotificationSettings",
                "value": json.dumps({"Enabled": False, "DeleteThresholdEnabled": False}),
            },
            {"key": "SyncAll", "value": "false"},
        ]
        path = f"/v1.0{self.directory.root}/secrets"
        self.write("PUT", path, {"value": [*credentials, *settings]})

    def first_valid(self, forms: list[list[dict[str, str]]]) -> list[dict[str, str]]:
        """The first form of the credentials that Entra ID connects with. Raises Problem."""
        path = f"/v1.0{self.directory.root}/jobs/validateCredentials"
        body = {"templateId": self.directory.template, "useSavedCredentials": False}
        for number, form in enumerate(forms, 1):
            try:
                self.write("POST", path, {**body, "credentials": form})
            except Problem as problem:
                if number == len(forms) or problem.status != 400:
                    raise
                continue
            return form
        return forms[-1]

    def save_oauth(self) -> None:
        """Save an OAuth client. Either way: where Graph does not accept it, the user types it in by
        hand."""
        values = {
            "authenticationType": "OAuth2ClientCredentialsGrant",
            "baseAddress": self.options.tenant_url,
            "oauth2ClientId": self.options.oauth_client,
            "oauth2ClientSecret": self.options.oauth_secret,
            "oauth2TokenExchangeUri": self.options.oauth_token_url,
            "credentialLocationInRequest": "Header",
        }
        path = f"/beta{self.directory.root}/connectivityParameters"
        body = {"value": [{"key": key, "value": value} for key, value in values.items()]}
        answer = self.graph.call("PATCH", path, body)
        if answer.status in (400, 404, 405, 501):
            raise Problem(
                f"Graph does not take OAuth client credentials in this directory (it answered "
                f"{answer.status}).",
                f"In the Entra admin center: {self.options.name}, Provisioning, Connectivity, "
                "OAuth 2.0 client credentials. Fill in Tenant URL, Token Endpoint, Client "
                "Identifier and Client Secret, save, then run setup again with "
                "--credentials kept.",
            )
        self.graph.expect(answer, f"PATCH {path}")
        self.doubt(
            "With OAuth, Graph does not set the scope: see that Provisioning, Settings, Scope is "
            '"Sync only assigned users and groups"'
        )

    def job(self) -> None:
        """The provisioning job. It is made only once the connection works, because it would be
        quarantined otherwise."""
        directory = self.directory
        if directory.job:
            self.done("Provisioning job")
            return
        if self.will("Make the provisioning job"):
            path = f"/v1.0{directory.root}/jobs"
            directory.job = self.write("POST", path, {"templateId": directory.template})
            self.done("Provisioning job, new")

    def mappings(self) -> None:
        """Mappings, matching and the scope."""
        directory = self.directory
        if not directory.job:
            self.will("Map and match users and groups as Muster needs it")
            return
        mended = directory.mended()
        for text in mended.left:
            self.doubt(text)
        if not mended.changes:
            self.done("Mappings")
            return
        for text in mended.changes:
            self.will(f"Correct the mappings: {text}")
        if self.making:
            self.write("PUT", f"{directory.job_path}/schema", mended.schema)
            again = directory.mended()
            if again.changes:
                raise Problem(
                    f"Entra ID did not keep the mappings: {'; '.join(again.changes)}.",
                    "Correct them in the Entra admin center, Provisioning, Attribute mapping.",
                )
            self.done(f"Mappings, {len(mended.changes)} corrected")

    def assignments(self) -> None:
        """Each group gets a role of the application, so that it is provisioned."""
        principal = self.directory.principal
        known = self.graph.soon(self.directory.assigned) if principal else []
        assigned = {str(one["principalId"]) for one in known}
        for group in self.groups:
            name = repr(group["displayName"])
            if group["id"] in assigned:
                self.done(f"Group {name} assigned")
            elif self.will(f"Assign the group {name}"):
                self.assign(group)
                self.done(f"Group {name} assigned, new")
        if not self.groups and not assigned:
            self.doubt("No group is assigned: nobody is provisioned. Run setup with --group")

    def assign(self, group: dict[str, Any]) -> None:
        """Assign one group."""
        id = self.directory.principal["id"]
        body = {
            "principalId": group["id"],
            "resourceId": id,
            "appRoleId": role_of(
                self.graph.get(f"/v1.0/servicePrincipals/{id}?$select=id,appRoles")
            ),
        }
        try:
            path = f"/v1.0/servicePrincipals/{id}/appRoleAssignedTo"
            self.write("POST", path, body)
        except Problem as problem:
            if "already exists" in problem.wrong:
                return  # by an earlier run, a moment ago
            if problem.status in (400, 403) and problem.code != "Authorization_RequestDenied":
                problem.remedy = (
                    "Assigning groups takes a licence of Entra ID P1 or P2. Without one, assign "
                    "people and give access by app roles."
                )
            raise

    def proof(self) -> None:
        """Provision one person and one group now, as a test."""
        groups = self.groups
        if self.directory.principal and not groups:
            groups = [
                {"id": one["principalId"], "displayName": one.get("principalDisplayName", "")}
                for one in self.directory.assigned()
                if one.get("principalType") == "Group"
            ]
        found = self.example(groups)
        if found is None:
            self.doubt(
                "Nobody in the assigned groups has mail, given name and surname, so nothing was "
                "proven: a scoping filter keeps such accounts out"
            )
            return
        group, person = found
        text = f"{person['mail']} and the group {group['displayName']!r}"
        if not self.will(f"Prove it: provision {text} on demand"):
            return
        schema = self.directory.schema()
        self.prove(schema, person["id"], "User", None)
        self.prove(schema, group["id"], "Group", [person["id"]])
        self.done(f"Provisioned on demand: {text}")

    def example(self, groups: list[dict[str, Any]]) -> tuple[dict[str, Any], dict[str, Any]] | None:
        """A group and one of its members whom Entra ID provisions."""
        for group in groups:
            for person in self.directory.members(group["id"]):
                if is_of(person, "user") and in_scope(person) and person.get("accountEnabled"):
                    return group, person
        return None

    def prove(
        self, schema: dict[str, Any], subject: str, kind: str, members: list[str] | None
    ) -> None:
        """Provision one person or group, repeatedly: a new assignment takes a moment to take
        effect. Raises Problem."""
        text = ""
        for seconds in (5, 10, 20, 0):
            good, text = self.directory.provision(schema, subject, kind, members)
            if good:
                return
            if "NotEffectivelyEntitled" not in text:
                break
            self.terminal.pause(seconds)
        raise Problem(
            f"Provisioning one {kind.lower()} on demand failed: {text}",
            "Correct what it names, then run setup again. The job was not started.",
        )

    def start(self) -> None:
        """Start the job; restart one in quarantine."""
        if not self.directory.job:
            self.will("Start provisioning")
            return
        trouble = job_trouble(self.directory.status())
        if not trouble:
            self.done("Provisioning is running")
            return
        quarantined = bool((self.directory.job.get("status") or {}).get("quarantine"))
        if quarantined and self.will("Restart provisioning, which is in quarantine"):
            body = {"criteria": {"resetScope": "Full"}}
            self.graph.send("POST", f"{self.directory.job_path}/restart", body)
        elif not quarantined and self.will("Start provisioning"):
            self.graph.send("POST", f"{self.directory.job_path}/start")
        if not self.making:
            return
        for seconds in (5, 5, 10, 10, 30):
            self.terminal.pause(seconds)
            trouble = job_trouble(self.directory.status())
            if not trouble:
                self.done("Provisioning is running")
                return
        raise Problem(
            f"The job does not run: {trouble}.",
            "Run check in some minutes; if it says the same, look at Provisioning logs.",
        )


CREDENTIALS = {
    "blank": "a blank Secret Token",
    "token": "a Secret Token",
    "oauth": "OAuth client credentials",
    "kept": "the credentials that were saved",
}


def role_of(principal: dict[str, Any]) -> str:
    """The app role to assign: "User", else the first for users; zeros only where there is none."""
    roles = [
        role
        for role in principal.get("appRoles") or []
        if role.get("isEnabled", True) and "User" in role.get("allowedMemberTypes", [])
    ]
    named = [role for role in roles if role.get("displayName") == "User"] or roles
    return str(named[0]["id"]) if named else NO_ROLE


def job_trouble(job: dict[str, Any]) -> str:
    """Why a job does not run; empty where it runs."""
    status, schedule = job.get("status") or {}, job.get("schedule") or {}
    if quarantine := status.get("quarantine"):
        error = quarantine.get("error") or {}
        reason = error.get("message") or error.get("code") or quarantine.get("reason")
        return f"it is in quarantine since {quarantine.get('currentBegan')}: {reason}"
    # Either way: a job that runs is Active or InProgress.
    if status.get("code") not in ("Active", "InProgress"):
        return f"its status is {status.get('code')}"
    if schedule.get("state") != "Active":
        return f"its schedule is {schedule.get('state')}"
    return ""


def run_setup(directory: Directory, options: argparse.Namespace) -> int:
    """`setup`."""
    terminal = directory.graph.terminal
    setup = Setup(directory, options)
    terminal.say("What is there, and what will be done (= is right, + will be done, ! look at it):")
    setup.run(making=False)
    if options.dry_run:
        terminal.say("Nothing was changed.")
        return 0
    if setup.planned and not agreed(terminal, options, "Do it?"):
        return 1
    setup.run(making=True)
    terminal.say("")
    for text in setup.green:
        terminal.say(f"green  {text}")
    for text in setup.amber:
        terminal.say(f"amber  {text}")
    terminal.say(
        "The first cycle provisions everybody; after it, changes come about every 40 minutes. In "
        "Muster, say what each group gives."
    )
    return 0


def agreed(terminal: Terminal, options: argparse.Namespace, question: str) -> bool:
    """Whether the person says yes."""
    if options.yes:
        return True
    try:
        said = terminal.ask(f"{question} [y/N] ").strip().lower() in ("y", "yes")
    except EOFError:
        said = False
    if not said:
        terminal.say("Left as it is.")
    return said


# check


def run_check(directory: Directory, options: argparse.Namespace) -> int:
    """`check`: 0 where everything is green."""
    terminal = directory.graph.terminal
    directory.need()
    found: list[tuple[str, list[str]]] = []
    trouble = job_trouble(directory.status())
    found.append(("Provisioning job", [trouble] if trouble else []))
    try:
        mended = directory.mended()
        found.append(("Mappings", [*mended.changes, *mended.left]))
    except Problem as problem:
        found.append(("Mappings", [f"{problem.wrong} {problem.remedy}"]))
    groups = [one for one in directory.assigned() if one.get("principalType") == "Group"]
    found.append(
        (f"{len(groups)} groups assigned", [] if groups else ["assign one: setup --group"])
    )
    found.append(("Provisioning log", failures(directory)))
    found.append(("Secrets", ending(terminal, options)))
    for name, faults in found:
        terminal.say(f"{'amber' if faults else 'green'}  {name}")
        for fault in faults:
            terminal.say(f"         {fault}")
    if any(faults for _, faults in found):
        terminal.say("Run setup again: it mends the job and its mappings.")
        return 1
    return 0


def failures(directory: Directory) -> list[str]:
    """The failures in the newest entries of the provisioning log, each cause once. Either way: the
    log may need a licence, and its entries have the failure in one of two members."""
    path = f"/v1.0/auditLogs/provisioning?$filter=jobId%20eq%20{quoted(str(directory.job['id']))}"
    answer = directory.graph.call("GET", path)
    if answer.status != 200:
        directory.graph.terminal.say(f"(The provisioning log cannot be read: {answer.status}.)")
        return []
    causes: dict[str, int] = {}
    for entry in answer.json().get("value", []):
        status = entry.get("provisioningStatusInfo") or entry.get("statusInfo") or {}
        if str(status.get("status", "")).lower() == "failure":
            error = status.get("errorInformation") or status
            code = str(error.get("errorCode") or "failure")
            cause = f"{code}: {error.get('reason') or ''} {REMEDIES.get(code, '')}".strip()
            causes[cause] = causes.get(cause, 0) + 1
    return [f"{times} times {cause}" for cause, times in causes.items()]


def ending(terminal: Terminal, options: argparse.Namespace) -> list[str]:
    """Muster's tokens for Entra ID that expire within 30 days, from its API."""
    if not options.api_token:
        terminal.say("(The expiry of secrets was not checked: that needs MUSTER_API_TOKEN.)")
        return []
    soon = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() + 30 * 24 * 3600))
    tokens = muster_api(terminal, options).get("/tokens").get("tokens", [])
    return [
        f"the secret token {one['tokenId']} ends at {one['expires']}: have a new one made in "
        "Muster, then run setup with it"
        for one in tokens
        if one.get("kind") == "scim"
        and one.get("live")
        and not one.get("ofProgram")
        and (one.get("expires") or "9") < soon
    ]


# What is in Muster.


def muster_api(terminal: Terminal, options: argparse.Namespace) -> Service:
    """The API of Muster's console."""
    return Service(terminal, "Muster's API", options.api_url, options.api_token)


class Muster:
    """Users, groups and members in Muster, over SCIM; what groups give, over its API."""

    def __init__(self, terminal: Terminal, options: argparse.Namespace) -> None:
        if not options.token:
            raise Problem(
                "There is no token to read Muster with.",
                "Download this program from Muster's console, which writes a token into it, or set "
                "MUSTER_TOKEN to a SCIM token.",
            )
        self.scim = Service(terminal, "Muster", options.tenant_url, options.token)
        self.users: dict[str, dict[str, Any]] = {}
        """SCIM id → user."""
        self.people: dict[str, dict[str, Any]] = {}
        """Users that Entra ID provisioned, by their object id there."""
        self.groups: dict[str, dict[str, Any]] = {}
        """Groups that Entra ID provisioned, by their object id there."""
        self.members: dict[str, set[str]] = {}
        """Object id of a group → SCIM ids of its members."""
        self.gives: dict[str, set[str]] | None = None
        """Object id of a group → what it gives; None where that is unknown."""
        self.owners: dict[str, str | None] = {}
        """Object id of a group → the connection that it belongs to, as far as known."""
        self.alone = True
        """Whether no other connection is known that people could have come from."""
        self._read(terminal, options)

    def _read(self, terminal: Terminal, options: argparse.Namespace) -> None:
        for user in self._all("/Users", "externalId,userName,active,name,emails"):
            self.users[user["id"]] = user
            if user.get("externalId"):
                self.people[user["externalId"]] = user
        for group in self._all("/Groups", "externalId,displayName"):
            if group.get("externalId"):
                self.groups[group["externalId"]] = group
        for object_id, group in self.groups.items():
            # Page by page, however large the group is.
            inside = f'groups.value eq "{group["id"]}"'
            self.members[object_id] = {one["id"] for one in self._all("/Users", "id", inside)}
        if options.api_token:
            api = muster_api(terminal, options)
            self.alone = len(api.get("/overview")["connections"]) < 2
            self.gives = {}
            for group in self._api_groups(api):
                id = str(group.get("externalId"))
                self.gives[id] = {str(one["displayName"]) for one in group["entitlements"]}
                self.owners[id] = group.get("connectionId")

    def _all(self, path: str, attributes: str, which: str = "") -> Iterator[dict[str, Any]]:
        """All resources of a type, page by page, by cursor (RFC 9865), so that none is missed while
        others come and go."""
        cursor = ""
        while True:
            asked = {"attributes": attributes, "count": "200", "cursor": cursor}
            if which:
                asked["filter"] = which
            page = self.scim.get(f"{path}?{urllib.parse.urlencode(asked)}")
            yield from page.get("Resources") or []
            cursor = page.get("nextCursor") or ""
            if not cursor:
                return

    def _api_groups(self, api: Service) -> Iterator[dict[str, Any]]:
        cursor = ""
        while True:
            asked = f"?{urllib.parse.urlencode({'cursor': cursor})}" if cursor else ""
            page = api.get(f"/groups{asked}")
            yield from page["groups"]
            cursor = page.get("nextCursor") or ""
            if not cursor:
                return

    def given(self, groups: set[str]) -> set[str]:
        """What these groups (object ids) give together."""
        found: set[str] = set()
        for group in groups:
            found |= (self.gives or {}).get(group, set())
        return found

    def groups_of(self, user: dict[str, Any] | None) -> set[str]:
        """Object ids of the groups that a user is a direct member of."""
        id = user["id"] if user else ""
        return {group for group, members in self.members.items() if id in members}

    def patch(self, path: str, operation: dict[str, Any]) -> Answer:
        """Send a PATCH in Entra ID's form; returns the answer. Raises Problem where there is
        none."""
        body = {
            "schemas": ["urn:ietf:params:scim:api:messages:2.0:PatchOp"],
            "Operations": [operation],
        }
        return self.scim.call("PATCH", path, body, "application/scim+json")


# audit and repair


@dataclass
class Difference:
    """One difference between Entra ID and Muster."""

    kind: str
    text: str
    person: str = ""
    """Object id."""
    group: str = ""
    """Object id."""
    scim_id: str = ""
    """The SCIM id of what Muster has in excess."""
    gives: list[str] = field(default_factory=list)
    """What the person gains once it is mended."""
    takes: list[str] = field(default_factory=list)
    """What the person loses once it is mended."""

    def shown(self) -> str:
        """The difference as a line of text."""
        effects = [f"gives {', '.join(self.gives)}"] if self.gives else []
        effects += [f"takes {', '.join(self.takes)}"] if self.takes else []
        return f"{self.text}{'; mending it ' if effects else ''}{' and '.join(effects)}"


EXCESS = ("member too many", "group too many", "person not assigned", "person still active")
"""Kinds of what Muster has and Entra ID has not. Entra ID never reads Muster's members, so it may
not remove these by itself."""


class Audit:
    """Compares everything that Entra ID provisions with what Muster has."""

    def __init__(self, directory: Directory, muster: Muster) -> None:
        self.directory = directory
        self.muster = muster
        self.found: list[Difference] = []
        self.notes: list[str] = []
        self.people: dict[str, dict[str, Any]] = {}
        """Everybody assigned, by object id."""
        self.members: dict[str, set[str]] = {}
        """Assigned groups, by object id, with their people."""
        self.names: dict[str, str] = {}
        self._read()
        self._compare_people()
        self._compare_groups()

    def _read(self) -> None:
        for one in self.directory.assigned():
            id = str(one["principalId"])
            if one.get("principalType") == "Group":
                group = self.directory.group(id)
                self.names[id] = str(group.get("displayName"))
                if group.get("securityEnabled") is False:
                    self.notes.append(f"{self.names[id]!r} is not security-enabled: it stays out")
                else:
                    self._read_group(id)
            elif one.get("principalType") == "User" and id not in self.people:
                fields = "$select=id,accountEnabled,mail,givenName,surname"
                self.people[id] = known(self.directory.graph.get(f"/v1.0/users/{id}?{fields}"))

    def _read_group(self, group: str) -> None:
        members = self.directory.members(group)
        direct = {str(one["id"]): one for one in members if is_of(one, "user")}
        self.people.update(direct)
        self.members[group] = set(direct)
        if any(is_of(one, "group") for one in members):
            below = self.directory.members(group, "transitiveMembers")
            lost = {str(one["id"]) for one in below if is_of(one, "user")} - set(direct)
            self.notes.append(
                f"{self.names[group]!r} holds other groups, and Entra ID does not provision the "
                f"{len(lost)} people who are only in those: assign the inner groups too"
            )

    def _active(self, id: str) -> bool:
        person = self.people.get(id)
        return person is not None and in_scope(person) and bool(person.get("accountEnabled"))

    def _compare_people(self) -> None:
        left_out = [id for id, one in self.people.items() if not in_scope(one)]
        if left_out:
            self.notes.append(
                f"{len(left_out)} assigned accounts have no mail, given name or surname, and stay "
                f"out: {', '.join(sorted(left_out)[:10])}"
            )
        for id, person in self.people.items():
            self._compare_person(id, person, self.muster.people.get(id))
        strangers = [
            (id, user)
            for id, user in self.muster.people.items()
            if id not in self.people and user.get("active")
        ]
        if strangers and not self.muster.alone:
            self.notes.append(
                f"{len(strangers)} active people are not assigned here; another connection may "
                "have brought them"
            )
            return
        for id, user in strangers:
            self._excess("person not assigned", user, id, "is active, and not assigned")

    def _compare_person(self, id: str, person: dict[str, Any], user: dict[str, Any] | None) -> None:
        name = str(person.get("mail") or id)
        groups = {group for group, members in self.members.items() if id in members}
        if not self._active(id):
            if user and user.get("active"):
                why = "is disabled" if in_scope(person) else "is out of scope"
                self._excess("person still active", user, id, f"{why} in Entra ID, and active")
        elif user is None:
            gives = sorted(self.muster.given(groups))
            self.add("person missing", f"{name} is not there", person=id, gives=gives)
        elif not user.get("active"):
            gives = sorted(self.muster.given(self.muster.groups_of(user)))
            self.add("person inactive", f"{name} is not active", person=id, gives=gives)
        elif wrong := differing(person, user):
            text = f"{name} has another {' and '.join(wrong)}"
            self.add("person differs", text, person=id)

    def _excess(self, kind: str, user: dict[str, Any], id: str, text: str) -> None:
        takes = sorted(self.muster.given(self.muster.groups_of(user)))
        text = f"{user.get('userName')} {text}"
        self.add(kind, text, person=id, scim_id=user["id"], takes=takes)

    def _compare_groups(self) -> None:
        for group, members in self.members.items():
            there = self.muster.groups.get(group)
            if there is None:
                self.add(
                    "group missing", f"The group {self.names[group]!r} is not there", group=group
                )
            elif there.get("displayName") != self.names[group]:
                text = f"The group {self.names[group]!r} is named {there.get('displayName')!r}"
                self.add("group differs", text, group=group)
            self._compare_members(group, members)
        ours = {self.muster.owners.get(group) for group in self.members} - {None}
        for group, there in self.muster.groups.items():
            if group not in self.members:
                owner = self.muster.owners.get(group)
                if self.muster.gives is not None and owner not in ours:
                    continue  # of another connection, or imported and not yet written by one
                takes = sorted(self.muster.given({group}))
                text = f"The group {there.get('displayName')!r} is there, and not assigned"
                self.add("group too many", text, group=group, scim_id=there["id"], takes=takes)

    def _compare_members(self, group: str, members: set[str]) -> None:
        ids = self.muster.members.get(group, set())
        there = {str((self.muster.users.get(id) or {}).get("externalId") or id): id for id in ids}
        name = self.names[group]
        for person in sorted(members - set(there)):
            if self._active(person):
                user = self.muster.people.get(person)
                others = self.muster.groups_of(user)
                gives = sorted(self.muster.given({group}) - self.muster.given(others))
                text = f"{self.people[person].get('mail')} is missing in the group {name!r}"
                self.add("member missing", text, person=person, group=group, gives=gives)
        for person in sorted(set(there) - members):
            user = self.muster.users.get(there[person])
            others = self.muster.groups_of(user) - {group}
            takes = sorted(self.muster.given({group}) - self.muster.given(others))
            who = user.get("userName") if user else person
            self.add(
                "member too many",
                f"{who} is in the group {name!r}, and not in Entra ID",
                person=person,
                group=group,
                scim_id=there[person],
                takes=takes,
            )

    def add(self, kind: str, text: str, **more: Any) -> None:
        """One more difference."""
        self.found.append(Difference(kind, text, **more))


def differing(person: dict[str, Any], user: dict[str, Any]) -> list[str]:
    """The attributes of a person that differ in Muster."""
    emails = [one for one in user.get("emails") or [] if one.get("type") == "work"]
    name = user.get("name") or {}
    pairs = (
        ("work e-mail", person.get("mail"), emails[0].get("value") if emails else None),
        ("given name", person.get("givenName"), name.get("givenName")),
        ("family name", person.get("surname"), name.get("familyName")),
    )
    return [
        what
        for what, there, here in pairs
        if str(there or "").strip().lower() != str(here or "").strip().lower()
    ]


def run_audit(directory: Directory, options: argparse.Namespace) -> int:
    """`audit`: 0 where both agree."""
    terminal = directory.graph.terminal
    directory.need()
    audit = Audit(directory, Muster(terminal, options))
    if options.json:
        body = {"differences": [vars(one) for one in audit.found], "notes": audit.notes}
        terminal.give(json.dumps(body, indent=2))
    else:
        show_audit(terminal, audit)
        if audit.muster.gives is None:
            terminal.say(
                "(To show what mending each difference gives or takes needs MUSTER_API_TOKEN.)"
            )
    return 1 if audit.found else 0


def show_audit(terminal: Terminal, audit: Audit) -> None:
    """Show what was found."""
    for difference in audit.found:
        terminal.say(f"{difference.kind:<20} {difference.shown()}")
    for note in audit.notes:
        terminal.say(f"{'note':<20} {note}")
    groups, people = len(audit.members), len(audit.people)
    terminal.say(f"{len(audit.found)} differences in {groups} groups and {people} people.")


def run_repair(directory: Directory, options: argparse.Namespace) -> int:
    """`repair`: 0 where nothing is left."""
    terminal = directory.graph.terminal
    directory.need()
    audit = Audit(directory, Muster(terminal, options))
    show_audit(terminal, audit)
    if not audit.found:
        return 0
    if options.dry_run:
        terminal.say("Nothing was changed.")
        return 1
    if not agreed(terminal, options, "Have Entra ID provision what differs?"):
        return 1
    provision(audit)
    audit = Audit(directory, Muster(terminal, options))
    excess = [one for one in audit.found if one.kind in EXCESS]
    if excess and options.remove:
        for one in excess:
            terminal.say(f"{one.kind:<20} {one.shown()}")
        if agreed(terminal, options, f"Take these {len(excess)} away in Muster, over SCIM?"):
            remove(audit, excess)
            audit = Audit(directory, Muster(terminal, options))
    terminal.say("Afterwards:")
    show_audit(terminal, audit)
    if excess and not options.remove:
        terminal.say(
            "Entra ID does not read what Muster has, so it takes nothing away that it did not "
            "give. Look at what is too many; `repair --remove` takes it away."
        )
    return 1 if audit.found else 0


def provision(audit: Audit) -> None:
    """Provision on demand, people first: a group can only get members who exist."""
    directory, found = audit.directory, audit.found
    say = directory.graph.terminal.say
    schema = directory.schema()
    people = dict.fromkeys(one.person for one in found if one.kind.startswith("person"))
    for person in people:
        _, text = directory.provision(schema, person, "User")
        name = audit.people.get(person, {}).get("mail") or person
        say(f"... {name}: {text}")
    members: dict[str, list[str]] = {}
    for one in found:
        if one.group and one.kind != "group too many":
            people_of = members.setdefault(one.group, [])
            # a user who did not come from Entra ID has no object id to send
            if one.person and one.person != one.scim_id:
                people_of.append(one.person)
    for group, chosen in members.items():
        for start in range(0, max(1, len(chosen)), MEMBERS_ON_DEMAND):
            some = chosen[start : start + MEMBERS_ON_DEMAND]
            _, text = directory.provision(schema, group, "Group", some)
            say(f"... group {audit.names[group]!r}, {len(some)} members: {text}")


def remove(audit: Audit, excess: list[Difference]) -> None:
    """Remove it over SCIM, in Entra ID's form."""
    muster, say = audit.muster, audit.directory.graph.terminal.say
    for one in excess:
        if one.kind == "member too many":
            value = [{"value": one.scim_id}]
            path = f"/Groups/{muster.groups[one.group]['id']}"
            answer = muster.patch(path, {"op": "Remove", "path": "members", "value": value})
        elif one.kind == "group too many" and muster.gives is None:
            say(f"... {one.text}: only MUSTER_API_TOKEN shows whose it is; left")
            continue
        elif one.kind == "group too many":
            answer = muster.scim.call("DELETE", f"/Groups/{one.scim_id}")
        else:
            operation = {"op": "Replace", "path": "active", "value": "False"}
            answer = muster.patch(f"/Users/{one.scim_id}", operation)
        if answer.status in (200, 204, 404):
            say(f"... {one.text}: taken away")
        else:
            say(f"... {one.text}: {refusal('Muster', 'take it away', answer).wrong}")


# The command line.

COMMANDS: dict[str, tuple[Callable[[Directory, argparse.Namespace], int], str, str]] = {
    "setup": (run_setup, WRITING, "set everything up, or mend it"),
    "check": (run_check, READING, "look at the job, its mappings and its secrets"),
    "audit": (run_audit, READING, "compare Entra ID with Muster; exit code 1 where they differ"),
    "repair": (run_repair, REPAIRING, "provision what differs on demand"),
}


def parse(arguments: list[str] | None, environment: dict[str, str]) -> argparse.Namespace:
    """The command line and the environment."""
    filled = {
        key: environment.get(f"MUSTER_{key.upper()}") or value for key, value in FILLED_IN.items()
    }
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    commands = parser.add_subparsers(dest="command", required=True)
    for name, (_, _, text) in COMMANDS.items():
        command = commands.add_parser(name, help=text, description=text)
        command.add_argument(
            "--tenant-url", default=filled["tenant_url"], help="as Muster shows it"
        )
        command.add_argument("--name", default=filled["name"], help="of the Enterprise Application")
        command.add_argument(
            "--directory", default=filled["directory"], help="directory (tenant) id"
        )
        command.add_argument("--api-url", default="", help="of Muster's API; found from Tenant URL")
        command.add_argument("--graph-url", default=GRAPH, help="of a national cloud's Graph")
        command.add_argument("--sign-in-url", default=SIGN_IN, help="of a national cloud's sign-in")
        if name in ("setup", "repair"):
            command.add_argument("--dry-run", action="store_true", help="say what would be done")
            command.add_argument("--yes", action="store_true", help="do not ask")
        if name == "setup":
            command.add_argument(
                "--group", action="append", default=[], help="a group to assign, by name or id"
            )
            command.add_argument(
                "--credentials",
                choices=sorted(CREDENTIALS),
                help="how Entra ID signs in to Muster; found from what is given",
            )
            command.add_argument("--oauth-client", default="", help="client identifier")
            command.add_argument("--oauth-token-url", default="", help="token endpoint")
        if name == "audit":
            command.add_argument("--json", action="store_true", help="print JSON")
        if name == "repair":
            command.add_argument(
                "--remove", action="store_true", help="also take away what is too many in Muster"
            )
    options = parser.parse_args(arguments)
    options.api_token = filled["api_token"]
    options.secret_token = environment.get("MUSTER_SECRET_TOKEN", "")
    options.oauth_secret = environment.get("MUSTER_OAUTH_SECRET", "")
    options.token = filled["token"] or options.secret_token
    options.graph_token = environment.get("GRAPH_TOKEN", "")
    return options


def complete(terminal: Terminal, options: argparse.Namespace) -> None:
    """Check what was given, and ask for the secrets that are missing. Raises Problem."""
    options.graph_url = checked(options.graph_url, "Graph")
    if not options.tenant_url:
        raise Problem("The Tenant URL is missing.", "Give it with --tenant-url.")
    # a flag at its end, such as ?aadOptscim062020, is for Entra ID only
    base = checked(options.tenant_url, "Tenant URL")
    parts = urllib.parse.urlsplit(base)
    options.api_url = options.api_url or f"{parts.scheme}://{parts.netloc}/console/api"
    options.api_url = checked(options.api_url, "Muster's API")
    if options.command == "setup":
        complete_credentials(terminal, options, f"{parts.scheme}://{parts.netloc}")
    for secret in ("api_token", "secret_token", "oauth_secret", "token", "graph_token"):
        terminal.hide(getattr(options, secret))


def complete_credentials(terminal: Terminal, options: argparse.Namespace, muster: str) -> None:
    """The credentials that `setup` saves. Raises Problem."""
    options.oauth_token_url = options.oauth_token_url or f"{muster}/oauth/token"
    if options.credentials is None and options.oauth_client:
        options.credentials = "oauth"
    elif options.credentials is None and options.secret_token:
        options.credentials = "token"
    if options.credentials == "token" and not options.secret_token:
        options.secret_token = terminal.ask_secret("Secret Token: ")
    if options.credentials == "oauth":
        if not options.oauth_client:
            raise Problem("The client identifier is missing.", "Give it with --oauth-client.")
        if not options.oauth_secret:
            options.oauth_secret = terminal.ask_secret("Client secret: ")


def main(arguments: list[str] | None = None, terminal: Terminal | None = None) -> int:
    """Run one command. Returns the exit code: 0 all is well, 1 something differs, 2 it was
    stopped."""
    terminal = terminal or Terminal()
    options = parse(arguments, terminal.environment)
    terminal.quiet = bool(getattr(options, "json", False))
    run, scopes, _ = COMMANDS[options.command]
    try:
        complete(terminal, options)
        token = sign_in(terminal, options, scopes)
        return run(
            Directory(Graph(terminal, "Graph", options.graph_url, token), options.name), options
        )
    except Problem as problem:
        terminal.say(f"Stopped: {problem.wrong}\nWhat to do: {problem.remedy}")
    except (KeyboardInterrupt, EOFError):
        terminal.say("Stopped. Run the same command again: it goes on where it was.")
    return 2


if __name__ == "__main__":
    sys.exit(main())
