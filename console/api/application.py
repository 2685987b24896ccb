"""The ASGI application for /console/api: authentication, reading requests, and answers.

The tenant comes from the bearer token and from nowhere else. Cookies are ignored, so no page of
another site can make a browser change anything here.
"""

from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel
from starlette.requests import Request
from starlette.responses import Response

from administration.deployment import Deployment
from administration.errors import AdministrationError
from administration.tenants import read_tenant
from console.api import by_hand, catalog, clients, failed, groups, log, overview, policy, users
from console.api.operation import PATH, Call
from console.api.problems import refuse
from directory.documents import Actor
from scim.protocol.body import values_in
from telemetry.observation import current
from trust.authenticator import Authenticator
from trust.caller import Caller
from trust.rate import RateLimit
from trust.refusal import bad_token
from trust.signing import SigningKeys
from web.cursor import Pages
from web.interface import answered, interface_surface
from web.openapi import Interface
from web.operation import JSON, Operation
from web.reading import media_type, origin_of, parsed_body, parsed_query, read_content
from web.surface import REQUEST_SECONDS, Surface
from web.trouble import too_many_requests, too_many_values

OPERATIONS: tuple[Operation, ...] = (
    *overview.OPERATIONS,
    *clients.OPERATIONS,
    *groups.OPERATIONS,
    *users.OPERATIONS,
    *by_hand.OPERATIONS,
    *log.OPERATIONS,
    *failed.OPERATIONS,
    *catalog.OPERATIONS,
    *policy.OPERATIONS,
)
INTERFACE = Interface(
    "Muster, the console's API",
    "What the console does, for programs. Errors are problem details.",
    PATH,
    "A token of kind `console`, of one organisation.",
    OPERATIONS,
    refuses=True,
)
DOCUMENT = INTERFACE.document
BODY_BYTES = 4 * 1024 * 1024
"""The largest body that is read."""
FILE_VALUES = 100_000
"""The most values in a file."""
JSON_VALUES = 20_000
"""The most JSON values in a body that is not a file, since the answer names every fault in it."""


def api_application(
    deployment: Deployment,
    authenticator: Authenticator,
    rate: RateLimit,
    seconds: float = REQUEST_SECONDS,
) -> Surface:
    """The API; `seconds` is how long a request may take."""
    api = _Api(deployment, authenticator, rate)
    known = f"The console's API knows no such operation: {DOCUMENT} lists all of them."
    return interface_surface("console-api", INTERFACE, api.serve, refuse, seconds, known=known)


class _Api:
    def __init__(
        self, deployment: Deployment, authenticator: Authenticator, rate: RateLimit
    ) -> None:
        self._deployment = deployment
        self._authenticator = authenticator
        self._rate = rate
        self._keys = SigningKeys(deployment.service.store, deployment.service.now)

    async def serve(self, request: Request, operation: Operation) -> Response:
        """Answer a request."""
        header = request.headers.get("authorization")
        caller = await self._authenticator.caller(header, "console")
        current().tenant_id = caller.tenant.tenant_id
        if wait := self._rate.take(caller.tenant.tenant_id):
            raise too_many_requests(wait)
        call = await self._call(request, operation, caller)
        return answered(operation, await operation.handler(call))

    async def _call(self, request: Request, operation: Operation, caller: Caller) -> Call[Any, Any]:
        """The request, parsed as the operation defines. Raises Problem, Refused."""
        deployment = self._deployment
        try:
            tenant = await read_tenant(deployment.service.store, caller.tenant.tenant_id)
        except AdministrationError:
            raise bad_token("console") from None
        query = parsed_query(request, operation, DOCUMENT)
        content = await _content(request, operation) if operation.body or operation.file else b""
        body = parsed_body(operation, content, DOCUMENT)
        return Call(
            tenant=tenant,
            actor=Actor(type="administrator", id=f"token {caller.credential}"),
            deployment=deployment,
            origin=origin_of(request, deployment.public_url),
            path=request.path_params,
            query=query,
            body=body,
            content=content,
            if_match=request.headers.get("if-match"),
            pages=Pages(
                _asked(tenant.tenant_id, operation, request.path_params, query, body),
                await self._keys.keys("console-api"),
            ),
        )


def _asked(
    tenant_id: str,
    operation: Operation,
    path: Mapping[str, str],
    query: BaseModel,
    body: BaseModel | None,
) -> str:
    sent = body.model_dump_json(exclude={"cursor"}) if body else ""
    asked = query.model_dump_json(exclude={"cursor", "limit"})
    return repr([tenant_id, operation.name, sorted(path.items()), asked, sent])


async def _content(request: Request, operation: Operation) -> bytes:
    """The body, within the limits of size and number of values. Raises Problem, Trouble."""
    content = await read_content(request, operation, BODY_BYTES)
    most = FILE_VALUES if operation.file else JSON_VALUES
    if media_type(request) == JSON and values_in(content) > most:
        raise too_many_values(most)
    return content
