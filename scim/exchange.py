"""A SCIM request as the use cases see it, and their answer: no HTTP library in sight."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from directory.tenants import Tenant
from scim.protocol.errors import Forbidden
from scim.protocol.work import Work
from trust.caller import Caller

BASES = ("/scim/v2", "/scim")
"""The paths below which SCIM is served; the same API under each."""
BODY_BYTES = 4 * 1024 * 1024
"""The largest body that is read."""
BODY_VALUES = 400_000
"""The most values, arrays and objects that a body may hold, as `values_in` counts them."""
BODY_DEPTH = 32
"""How deep objects and arrays in a body may be in each other."""


@dataclass(frozen=True, slots=True)
class Request:
    """One request of a proven caller.

    `base_url` is the SCIM base that the client used, without a trailing slash. `parameters` are
    the query's, the last of equal names. `body` is parsed JSON, None where there is none, and
    `size` how many bytes it had. `work` is what the request may cost.
    """

    caller: Caller
    request_id: str
    base_url: str
    parameters: Mapping[str, str] = field(default_factory=dict)
    if_match: str | None = None
    if_none_match: str | None = None
    body: Any = None
    size: int = 0
    work: Work = field(default_factory=Work, compare=False)

    @property
    def tenant(self) -> Tenant:
        """The tenant of the verified token."""
        return self.caller.tenant

    def require_provisioning(self) -> None:
        """Raises Forbidden while the tenant has not enabled provisioning; reads need none."""
        if self.tenant.provisioning != "enabled":
            raise Forbidden(
                "Provisioning is not enabled for this organisation in Muster, so nothing was "
                "written. An administrator enables it in Muster's console under Overview, or with "
                f"'manage.py tenant enable {self.tenant.tenant_id}'. Test Connection works "
                "without it."
            )


@dataclass(frozen=True, slots=True)
class Answer:
    """Status, JSON body (None: no body) and headers beyond the content type."""

    status: int
    body: dict[str, Any] | None = None
    headers: Mapping[str, str] = field(default_factory=dict)


def values_in(body: bytes) -> int:
    """At least how many values, arrays and objects a JSON body holds, in a thousandth of the time
    that reading it takes; what looks like one inside a text counts, too."""
    return body.count(b",") + body.count(b"[") + body.count(b"{")


def too_deep(body: Any) -> bool:
    """Whether a body is nested deeper than BODY_DEPTH; looks at it layer by layer."""
    layer = [body] if isinstance(body, dict | list) else []
    for _ in range(BODY_DEPTH):
        layer = [
            inner
            for outer in layer
            for inner in (outer.values() if type(outer) is dict else outer)
            if type(inner) is dict or type(inner) is list
        ]
        if not layer:
            return False
    return True
