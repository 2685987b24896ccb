"""The operators' interface over HTTP: authentication, reading requests, answers, and logging. It
takes credentials of the deployment of kind `operator`; a tenant's own tokens, and credentials of
another kind, are refused. The tenant comes from the path, but only after the credential is verified
(`Authenticator.naming`). A change in a tenant gets an entry in the tenant's log; any other change
is a line in this surface's log."""

import logging
import re
from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel
from starlette.requests import Request
from starlette.responses import Response

from administration.deployment import Deployment
from administration.errors import Absent
from directory.documents import Actor
from operators import catalog, failed, secrets, tenants
from operators import deployment as of_deployment
from operators.call import PATH, Call
from scim.protocol.body import values_in
from telemetry.observation import current
from trust.authenticator import Authenticator
from trust.rate import RateLimit
from trust.signing import SigningKeys
from web.cursor import Pages
from web.interface import answered, interface_surface
from web.openapi import Interface
from web.operation import Operation
from web.problems import problem_details
from web.reading import origin_of, parsed_body, parsed_query, read_content
from web.surface import REQUEST_SECONDS, Surface
from web.trouble import Trouble, too_many_requests, too_many_values, trouble_of

OPERATIONS: tuple[Operation, ...] = (
    *tenants.OPERATIONS,
    *catalog.OPERATIONS,
    *secrets.OPERATIONS,
    *failed.OPERATIONS,
    *of_deployment.OPERATIONS,
)
INTERFACE = Interface(
    "Muster, the operators' interface",
    "What operators do with tenants, for the vendor's own programs. Errors are problem details.",
    PATH,
    "A credential of the deployment, of kind `operator`: its secret, or a token of Entra ID with "
    "the app role Tenants.ReadWrite.All.",
    OPERATIONS,
    refuses=True,
)
DOCUMENT = INTERFACE.document
BODY_BYTES = 64 * 1024
FILE_BYTES = 4 * 1024 * 1024
JSON_VALUES = 1_000
FILE_VALUES = 100_000

_PLAIN = re.compile(r"[\w:.-]{1,100}", re.ASCII)
log = logging.getLogger("muster.operator")


def operator_application(
    deployment: Deployment,
    authenticator: Authenticator,
    rate: RateLimit,
    seconds: float = REQUEST_SECONDS,
) -> Surface:
    """The ASGI application for `/operator`; `seconds` is how long a request may take."""
    api = _Api(deployment, authenticator, rate)
    known = f"The operators' interface knows no such operation: {DOCUMENT} lists all of them."
    return interface_surface("operator", INTERFACE, api.serve, refuse, seconds, known=known)


def refuse(error: Exception) -> Response:
    """Problem details (RFC 9457) for whatever was raised."""
    found = Trouble(404, str(error)) if isinstance(error, Absent) else trouble_of(error)
    return problem_details(found)


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
        credential = await self._credential(request)
        if wait := self._rate.take(credential):
            raise too_many_requests(wait)
        call = await self._call(request, operation, credential)
        answer = await operation.handler(call)
        if operation.method != "GET" and "tenant" not in request.path_params:
            _note(operation, request.path_params, answer, credential)
        return answered(operation, answer)

    async def _credential(self, request: Request) -> str:
        """The id of the operator's credential. Raises Refused."""
        header, named = request.headers.get("authorization"), request.path_params.get("tenant")
        if named is None:
            return (await self._authenticator.deployment(header, "operator")).credential
        caller = await self._authenticator.naming(header, "operator", named)
        current().tenant_id = caller.tenant.tenant_id
        return caller.credential

    async def _call(
        self, request: Request, operation: Operation, credential: str
    ) -> Call[Any, Any]:
        """The request, parsed as the operation defines. Raises Trouble."""
        query = parsed_query(request, operation, DOCUMENT)
        content = await _content(request, operation) if operation.body or operation.file else b""
        return Call(
            deployment=self._deployment,
            actor=Actor(type="operator", id=f"credential {credential}"),
            origin=origin_of(request, self._deployment.public_url),
            path=request.path_params,
            query=query,
            body=parsed_body(operation, content, DOCUMENT),
            content=content,
            if_match=request.headers.get("if-match", ""),
            pages=Pages(
                _asked(operation, request.path_params, query), await self._keys.keys("operator")
            ),
        )


async def _content(request: Request, operation: Operation) -> bytes:
    """The body, within the limits of size and number of values. Raises Problem, Trouble."""
    content = await read_content(request, operation, FILE_BYTES if operation.file else BODY_BYTES)
    most = FILE_VALUES if operation.file else JSON_VALUES
    if values_in(content) > most:
        raise too_many_values(most)
    return content


def _asked(operation: Operation, path: Mapping[str, str], query: BaseModel) -> str:
    asked = query.model_dump_json(exclude={"cursor", "limit"})
    return repr([operation.name, sorted(path.items()), asked])


def _note(operation: Operation, path: Mapping[str, str], answer: object, credential: str) -> None:
    """Log what was done, where no tenant's log has it."""
    named = [*path.values(), *(getattr(answer, name, "") for name in ("id", "endpoint_id"))]
    what = " ".join(each for each in named if isinstance(each, str) and _PLAIN.fullmatch(each))
    log.info("credential %s: %s %s", credential, operation.name, what)
