"""Nobody's body is read before it is known who sends it, whatever the surface; on Azure the host
has read it by then, and has a limit of its own."""

import pytest

from console.api.application import OPERATIONS
from console.pages import PAGES
from scim.exchange import BODY_BYTES
from tests.environment import Environment

SENT = [
    *(
        ("scim", method, f"/scim{path}")
        for method, path in (
            ("POST", "/Users"),
            ("PUT", "/Users/x"),
            ("PATCH", "/Groups/x"),
            ("POST", "/Bulk"),
            ("POST", "/.search"),
            ("POST", "/Users/.search"),
        )
    ),
    *(("console", page.method, f"/console{page.path}") for page in PAGES if page.method == "POST"),
    *(
        ("console", operation.method, f"/console/api{operation.path}")
        for operation in OPERATIONS
        if operation.body or operation.file
    ),
]


@pytest.mark.parametrize(("surface", "method", "path"), SENT)
@pytest.mark.parametrize("token", [b"", b"Bearer muster_scim_acme_00000000_" + b"0" * 64])
async def test_the_body_of_a_stranger_is_not_read(
    environment: Environment, surface: str, method: str, path: str, token: bytes
) -> None:
    read, answered = [], []

    async def receive() -> dict[str, object]:
        read.append(1)
        return {"type": "http.request", "body": b"x" * BODY_BYTES, "more_body": True}

    async def send(message: dict[str, object]) -> None:
        answered.append(message.get("status"))

    headers = [(b"host", b"muster.test"), (b"content-type", b"application/json")]
    scope = {
        "type": "http",
        "method": method,
        "scheme": "http",
        "path": path,
        "raw_path": path.encode(),
        "query_string": b"",
        "root_path": "",
        "headers": [*headers, (b"authorization", token)],
        "server": None,
        "client": None,
    }
    await getattr(environment.application, surface)(scope, receive, send)
    assert answered[0] in (401, 303)
    assert not read
