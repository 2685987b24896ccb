"""The access API over HTTP: authentication, parsing of requests, answers.

A token of a tenant stands for that tenant. With a credential of the deployment, the path names the
tenant, `/access/v1/tenants/{tenant}/…`; without a tenant, it may follow the changes of all. Both
kinds of credentials are for this API only; a SCIM token is refused here.
"""

import hashlib
from typing import Any

import orjson
from pydantic import BaseModel
from starlette.requests import Request
from starlette.responses import Response

from access.call import DOCUMENT, PATH, Call
from access.following import Feed, TooOld
from access.metadata import PATHS, metadata
from access.operations import INTERFACE, changes
from access.reading import AccessReader
from directory.tenants import Tenant
from scim.protocol.body import values_in
from scim.protocol.etags import names_answer
from telemetry.observation import current
from trust.authenticator import Authenticator
from trust.deployment import DeploymentCaller
from trust.rate import RateLimit
from trust.refusal import Misplaced
from web.interface import interface_surface
from web.operation import Operation
from web.problems import problem_details
from web.reading import parsed_body, parsed_query, read_content
from web.surface import REQUEST_SECONDS, Surface
from web.trouble import Trouble, too_many_requests, too_many_values, trouble_of

BODY_BYTES = 64 * 1024
JSON_VALUES = 5_000


def access_application(
    reader: AccessReader,
    feed: Feed,
    authenticator: Authenticator,
    rate: RateLimit,
    public_url: str = "",
    seconds: float = REQUEST_SECONDS,
) -> Surface:
    """The ASGI application for `/access` and for the metadata of its decision points. `public_url`
    (scheme and host) begins the URLs in the metadata; empty: the host that the client addressed.
    `seconds` is how long a request may take."""
    api = _Api(reader, feed, authenticator, rate, public_url.rstrip("/"))
    return interface_surface(
        "access",
        INTERFACE,
        api.serve,
        refuse,
        seconds,
        known=f"The access API knows no such operation: {DOCUMENT} lists all of them. GET "
        f"{PATH}/users/{{id}} is what one user may do.",
        beside=dict.fromkeys(PATHS, api.metadata),
    )


def refuse(error: Exception) -> Response:
    """The response with problem details (RFC 9457) for an exception."""
    if isinstance(error, TooOld):
        error = Trouble(
            410,
            "Changes behind this position have expired, so that some would be missed. Begin anew: "
            "list all users, and go on from the feedPosition of the first page.",
        )
    return problem_details(trouble_of(error))


class _Api:
    def __init__(
        self,
        reader: AccessReader,
        feed: Feed,
        authenticator: Authenticator,
        rate: RateLimit,
        public_url: str,
    ) -> None:
        self._reader = reader
        self._feed = feed
        self._authenticator = authenticator
        self._rate = rate
        self._public_url = public_url

    async def metadata(self, request: Request) -> Response:
        """AuthZEN's metadata of a decision point, without authentication."""
        addressed = f"{request.scope['scheme']}://{request.headers.get('host', '')}"
        body = metadata(self._public_url or addressed, request.scope["path"])
        return Response(orjson.dumps(body), media_type="application/json")

    async def serve(self, request: Request, operation: Operation) -> Response:
        """Answer a request."""
        tenant = await self._tenant(request, operation)
        call: Call[Any, Any] = Call(
            tenant,
            request.path_params,
            parsed_query(request, operation, DOCUMENT),
            await _body(request, operation),
            self._reader,
            self._feed,
        )
        return _answer(request, operation, await operation.handler(call))

    async def _tenant(self, request: Request, operation: Operation) -> Tenant | None:
        """The tenant that an authenticated caller asks about; None: all. Raises Refused,
        Trouble."""
        header, named = request.headers.get("authorization"), request.path_params.get("tenant")
        if named is None:
            caller = await self._authenticator.reader(header)
        else:
            caller = await self._authenticator.naming(header, "application", named)
        if isinstance(caller, DeploymentCaller):
            if operation.handler is not changes:
                raise Misplaced
            self._limit(f"credential:{caller.credential}")
            return None
        current().tenant_id = caller.tenant.tenant_id
        self._limit(caller.tenant.tenant_id)
        return caller.tenant

    def _limit(self, whose: str) -> None:
        if wait := self._rate.take(whose):
            raise too_many_requests(wait)


async def _body(request: Request, operation: Operation) -> BaseModel | None:
    """The parsed body, if the operation has one. Raises Problem, Trouble."""
    if operation.body is None:
        return None
    content = await read_content(request, operation, BODY_BYTES)
    if values_in(content) > JSON_VALUES:
        raise too_many_values(JSON_VALUES)
    return parsed_body(operation, content, DOCUMENT)


def _answer(request: Request, operation: Operation, answer: dict[str, Any]) -> Response:
    content = orjson.dumps(answer, option=orjson.OPT_UTC_Z)
    if not operation.cached:
        return Response(content, media_type="application/json")
    # a new feed position alone does not change the ETag: the old position serves as well
    lasting = {name: value for name, value in answer.items() if name != "feedPosition"}
    compared = content if len(lasting) == len(answer) else orjson.dumps(lasting)
    etag = f'"{hashlib.sha256(compared).hexdigest()[:32]}"'
    if names_answer(request.headers.get("if-none-match", ""), etag):
        return Response(None, 304, {"ETag": etag})
    return Response(content, 200, {"ETag": etag}, "application/json")
