"""Renders templates to HTML. Everything is escaped, and no inline script or style is written, which
the content security policy would refuse."""

import hashlib
import re
from collections.abc import Mapping
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from directory.reasons import REASON_TEXTS

HERE = Path(__file__).parent
STATIC = HERE / "static"
MEDIA_TYPES = {
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
}

KINDS = {
    "role": ("Role", "Roles"),
    "costCenterMembership": ("Cost center", "Cost centers"),
    "receptionMembership": ("Reception membership", "Reception memberships"),
    "receptionAssignment": ("Reception assignment", "Reception assignments"),
    "serviceProviderMembership": ("Service provider", "Service providers"),
}
"""The built-in kinds, with their names in singular and plural, in the order of the pages."""
OPERATIONS = {
    "create": "Created",
    "replace": "Replaced",
    "patch": "Changed",
    "delete": "Deleted",
    "mapping": "Mapping saved",
    "mappingForget": "Mapping of a deleted group forgotten",
    "policy": "Policy changed",
    "catalog": "Catalog changed",
    "grant": "Granted by hand",
    "letGo": "Kept no longer",
    "import": "Imported",
    "repair": "Repaired",
    "enable": "Provisioning enabled",
    "disable": "Provisioning disabled",
    "tokenCreate": "Token created",
    "tokenRotate": "Token rotated",
    "tokenRevoke": "Token revoked",
    "connectionCreate": "Connection created",
    "connectionRename": "Connection renamed",
    "secretCreate": "Client secret created",
    "secretRotate": "Client secret rotated",
    "secretRevoke": "Client secret revoked",
    "federation": "Workload identity set",
    "clientRemove": "OAuth client removed",
    "directory": "Entra ID directory changed",
    "entraTokens": "Accepted Entra ID tokens changed",
    "region": "Region changed",
    "sessionsEnd": "Console sessions ended",
    "invitationCreate": "Set-up link made",
    "invitationRevoke": "Set-up link revoked",
    "replay": "Replayed",
    "discard": "Dead letter discarded",
    "look": "Looked at by an operator",
}
TROUBLES = {
    "failedEvents": ("bad", "Failed events"),
    "pendingLate": ("bad", "Late"),
    "refusing": ("bad", "Refusing"),
    "secretEnded": ("bad", "Secret ended"),
    "secretEnding": ("warn", "Secret ends"),
    "silent": ("warn", "Silent"),
    "refusals": ("warn", "Refusals"),
}
TOLD = {
    "enabled": "Provisioning is enabled. Entra ID writes from its next cycle on.",
    "disabled": "Provisioning is disabled. Reads go on; writes are refused and say why.",
    "invitation-revoked": "The set-up link is revoked, and the sessions that it began have ended.",
    "secret-ended": "The client's secret has ended, with the access tokens that it obtained.",
    "client-removed": "The OAuth client is removed, and its access tokens have ended.",
    "federated": "The workload's identity is saved: it gets access tokens without a secret.",
    "token-revoked": "The token is revoked. It stops working within seconds.",
    "mapping-saved": "The mapping is saved and is being applied to the members.",
    "mapping-forgotten": "What the deleted group gave is forgotten.",
    "catalog-saved": "The catalog is saved.",
    "entry-removed": "The entry is removed from the catalog.",
    "policy-saved": "The policy is saved and is being applied to every user.",
    "user-created": "The user is created.",
    "user-saved": "The user is saved.",
    "user-deleted": "The user is deleted.",
    "grants-saved": "What is given by hand is saved and is being applied.",
    "let-go": "It is no longer kept. Once that is applied, nobody holds it.",
    "discarded": "The dead letter is discarded.",
    "replayed": "Sent again. It leaves this list once it is applied.",
}


def render(template: str, **context: Any) -> str:
    """A template of this folder, rendered as HTML."""
    return _environment().get_template(template).render(context)


_FORM = re.compile(r'<form\b[^>]*\bmethod="post".*?</form>', re.DOTALL)
_SIGN_OUT = 'action="/console/sign-out"'


def read_only(page: str) -> str:
    """A page without its forms, except sign-out and searches. A regular expression suffices: forms
    are not nested, and values are escaped."""
    return _FORM.sub(lambda form: form[0] if _SIGN_OUT in form[0] else "", page)


@cache
def static_files() -> Mapping[str, bytes]:
    """The static files, by name."""
    return {file.name: file.read_bytes() for file in STATIC.iterdir() if file.suffix in MEDIA_TYPES}


@cache
def static_version() -> str:
    """A digest of all static files. It is part of their URLs, so browsers may cache them for
    ever."""
    digest = hashlib.sha256()
    for name, content in sorted(static_files().items()):
        digest.update(name.encode() + content)
    return digest.hexdigest()[:12]


@cache
def _environment() -> Environment:
    environment = Environment(
        loader=FileSystemLoader(HERE / "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        "moment": moment,
        "iso": iso,
        "distance": distance,
        "kind": lambda kind: KINDS.get(kind, (kind, kind))[0],
        "kinds": lambda kind: KINDS.get(kind, (kind, kind))[1],
        "reason": lambda reason: REASON_TEXTS[reason].label,
        "operation": lambda operation: OPERATIONS.get(operation, operation),
        "number": lambda number: f"{number:,}",
    }
    environment.globals |= {
        "TOLD": TOLD,
        "OPERATIONS": OPERATIONS,
        "TROUBLES": TROUBLES,
        "v": static_version(),
    }
    return environment


def moment(value: datetime | str | None, seconds: bool = False) -> str:
    """A time as people read it, in UTC."""
    if value is None:
        return "–"
    at = datetime.fromisoformat(value) if isinstance(value, str) else value
    return at.astimezone(UTC).strftime(f"%-d %b %Y, %H:%M{':%S' if seconds else ''} UTC")


def distance(at: datetime, now: datetime) -> str:
    """How far a time is from now, in the largest unit that it has one of."""
    seconds = abs((at - now).total_seconds())
    for unit, long in (("d", 86_400), ("h", 3_600), ("min", 60)):
        if seconds >= long:
            text = f"{seconds // long:.0f} {unit}"
            return f"in {text}" if at > now else f"{text} ago"
    return "soon" if at > now else "just now"


def iso(value: datetime | str) -> str:
    """A time for the attribute `datetime` of `<time>`."""
    at = datetime.fromisoformat(value) if isinstance(value, str) else value
    return at.astimezone(UTC).isoformat(timespec="seconds")
