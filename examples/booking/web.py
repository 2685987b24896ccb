"""The application over HTTP: one page, the events that keep it live, decisions, and the webhook."""

import json
import time
from collections.abc import AsyncIterator, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import httpx
from starlette.applications import Starlette
from starlette.datastructures import MutableHeaders
from starlette.middleware import Middleware
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.requests import Request
from starlette.responses import JSONResponse, RedirectResponse, Response, StreamingResponse
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from examples.booking.access import Change, EverybodysAccess, NotReady
from examples.booking.rooms import ADMIN_AREAS, AREAS, PLACES
from muster_client import InvalidWebhook, User

PAGE = Path(__file__).with_name("page")
COOKIE = "booking-user"
WEBHOOK_BYTES = 64 * 1024
SHOWN_CHANGES = 30
HEADERS = {
    "content-security-policy": "default-src 'none'; script-src 'self'; style-src 'self'; "
    "connect-src 'self'; img-src 'self'; form-action 'self'; base-uri 'none'; "
    "frame-ancestors 'none'",
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cache-control": "no-store",
}


def application(access: EverybodysAccess) -> Starlette:
    """The application on a copy of everybody's access."""
    pages = _Pages(access)
    return Starlette(
        routes=[
            Route("/events", pages.events),
            Route("/admin", pages.admin),
            Route("/sign-in", pages.sign_in, methods=["POST"]),
            Route("/webhooks", pages.webhook, methods=["POST"]),
            Mount("/", StaticFiles(directory=PAGE, html=True)),
        ],
        middleware=[
            Middleware(TrustedHostMiddleware, allowed_hosts=["127.0.0.1", "localhost"]),
            Middleware(_Headers),
        ],
    )


class _Pages:
    def __init__(self, access: EverybodysAccess) -> None:
        self._access = access

    async def events(self, request: Request) -> Response:
        """Everything, then each change, as server-sent events."""
        signed_in = request.cookies.get(COOKIE, "")
        return StreamingResponse(self._stream(signed_in), media_type="text/event-stream")

    async def _stream(self, signed_in: str) -> AsyncIterator[str]:
        access, number = self._access, -1
        while True:
            changes = await access.after(number) if number >= 0 else None
            number = access.number
            if changes is None:
                yield _event("everything", self._everything(signed_in))
            else:
                yield _event("changes", [self._change(change) for change in changes])

    def _everything(self, signed_in: str) -> dict[str, Any]:
        access = self._access
        return {
            "ready": access.ready,
            "tenant": access.tenant,
            "signedIn": signed_in,
            "areas": [asdict(area) for area in AREAS],
            "places": PLACES,
            "people": [self._person(user) for user in access.users.values()],
            "changes": [self._change(change) for change in [*access.changes][-SHOWN_CHANGES:]],
        }

    def _person(self, user: User) -> dict[str, Any]:
        names = self._access.names
        grants = [
            {"grant": grant, "kind": grant.partition(":")[0], "name": names.get(grant, grant)}
            for grant in sorted(user.grants)
        ]
        name = names.get(user.id, user.id)
        # Nobody who is disabled may do anything, whatever the groups give.
        return {
            "id": user.id,
            "name": name,
            "enabled": user.enabled,
            "grants": grants if user.enabled else [],
        }

    def _change(self, change: Change) -> dict[str, Any]:
        return {
            "userId": change.user_id,
            "name": self._access.names.get(change.user_id, change.user_id),
            "at": change.at.isoformat(timespec="milliseconds"),
            "source": change.source,
            "before": self._person(change.before) if change.before else None,
            "after": self._person(change.after) if change.after else None,
        }

    async def sign_in(self, request: Request) -> Response:
        """Sign in as any user: a real application asks an identity provider here."""
        async with request.form(max_files=0, max_fields=1) as form:
            chosen = str(form.get("user", ""))
        if chosen not in self._access.users:
            return JSONResponse({"detail": "There is no such user."}, 404)
        answer = RedirectResponse("/", 303)
        answer.set_cookie(COOKIE, chosen, httponly=True, samesite="strict")
        return answer

    async def admin(self, request: Request) -> Response:
        """Which admin areas are open to the signed-in user, asked at this moment."""
        user = request.cookies.get(COOKIE, "")
        if user not in self._access.users:
            return JSONResponse({"detail": "Sign in first."}, 401)
        began = time.perf_counter()
        try:
            held = await self._access.decide(user, [area.grant for area in ADMIN_AREAS])
        except httpx.HTTPError:  # without an answer, access is denied
            return JSONResponse({"detail": "Muster does not answer."}, 503)
        areas = [asdict(area) | {"open": held[area.grant]} for area in ADMIN_AREAS]
        milliseconds = round((time.perf_counter() - began) * 1000)
        status = 200 if any(held.values()) else 403
        return JSONResponse({"areas": areas, "milliseconds": milliseconds}, status)

    async def webhook(self, request: Request) -> Response:
        """Receive a webhook message."""
        body = b""
        async for part in request.stream():
            body += part
            if len(body) > WEBHOOK_BYTES:
                return Response(status_code=413)
        try:
            await self._access.receive(request.headers, body)
        except InvalidWebhook:
            return Response(status_code=401)
        except NotReady:
            return Response(status_code=503)
        return Response(status_code=204)


def _event(name: str, content: Mapping[str, Any] | list[Any]) -> str:
    return f"event: {name}\ndata: {json.dumps(content)}\n\n"


class _Headers:
    """Adds security headers to every answer."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message).update(HEADERS)
            await send(message)

        await self._app(scope, receive, with_headers)
