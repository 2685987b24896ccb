"""A body is read as far as a surface takes it, whatever it is said to be."""

from collections.abc import Sequence

import pytest
from starlette.requests import Request

from web.reading import read_body
from web.trouble import Trouble


def request(length: bytes | None, parts: Sequence[bytes]) -> Request:
    left = [*parts]
    headers = [] if length is None else [(b"content-length", length)]

    async def receive() -> dict[str, object]:
        part = left.pop(0)
        return {"type": "http.request", "body": part, "more_body": bool(left)}

    return Request({"type": "http", "method": "POST", "headers": headers}, receive)


@pytest.mark.parametrize("length", [None, b"4", b"", b"-1", b"\xb2", b"four"])
async def test_what_fits_is_read_whatever_its_length_is_said_to_be(length: bytes | None) -> None:
    assert await read_body(request(length, [b"12", b"34"]), 4) == b"1234"


@pytest.mark.parametrize("length", [b"5", b"9" * 5_000])
async def test_what_announces_more_is_refused_unread(length: bytes) -> None:
    with pytest.raises(Trouble, match="larger than 4 bytes"):
        await read_body(request(length, []), 4)


async def test_what_is_more_is_refused() -> None:
    with pytest.raises(Trouble, match="larger than 4 bytes"):
        await read_body(request(None, [b"12", b"345", b"never read"]), 4)
