"""A SCIM request as the use cases see it, and their answer, independent of any HTTP library."""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from directory.tenants import Tenant
from scim.protocol.errors import Forbidden, ScimError
from scim.protocol.work import Work
from trust.caller import Caller

BASES = ("/scim/v2", "/scim")
"""The base paths of SCIM; the API is the same under each."""
BODY_BYTES = 4 * 1024 * 1024
"""The size of the largest body that is accepted."""


@dataclass(frozen=True, slots=True)
class Request:
    """One request of an authenticated caller.

    `base_url` is the SCIM base that the client used, without a trailing slash. `parameters` are
    those of the query; of equal names, the last. `body` is parsed JSON, None without a body, and
    `size` its size in bytes. `work` counts what the request may cost.
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
    renew: Callable[[], Awaitable[Caller | None]] | None = None
    """Reads the tenant again; returns the caller with it, or None where nothing changed."""

    @property
    def tenant(self) -> Tenant:
        """The tenant of the verified token."""
        return self.caller.tenant

    def require_provisioning(self) -> None:
        """Raises Forbidden while the tenant has not enabled provisioning. Only writes need it."""
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


async def renewed(request: Request, refusal: ScimError) -> Request | None:
    """The request to try again before it is refused (400, 403), where the cached tenant was out of
    date: somebody enabled provisioning or changed the policy. A refused request has written
    nothing, so it can be tried again. None where the refusal stands."""
    if refusal.status not in (400, 403) or request.renew is None:
        return None
    caller = await request.renew()
    return replace(request, caller=caller) if caller else None


async def served(request: Request, use_case: Callable[[Request], Awaitable[Answer]]) -> Answer:
    """The answer of a use case; no request is refused because of an outdated tenant in the cache.
    Raises what the use case raises."""
    try:
        return await use_case(request)
    except ScimError as refusal:
        again = await renewed(request, refusal)
        if again is None:
            raise
        return await use_case(replace(again, work=Work()))
