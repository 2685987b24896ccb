"""What every answer owes to SCIM and to Entra ID, whatever was asked."""

from collections.abc import Iterator
from typing import Any

import httpx

MEDIA_TYPE = "application/scim+json"
ERROR = "urn:ietf:params:scim:api:messages:2.0:Error"
LIST = "urn:ietf:params:scim:api:messages:2.0:ListResponse"
CORE = "urn:ietf:params:scim:schemas:core:2.0:"
RESOURCES = (f"{CORE}User", f"{CORE}Group")
SCIM_TYPES = {
    "invalidFilter",
    "tooMany",
    "uniqueness",
    "mutability",
    "invalidSyntax",
    "invalidPath",
    "noTarget",
    "invalidValue",
    "invalidVers",
    "sensitive",
    "invalidCursor",
}
"""RFC 7644 table 9 and RFC 9865 section 2.1."""


def violations(answer: httpx.Response) -> list[str]:
    """What is wrong with an answer in itself, one line each."""
    return list(_violations(answer))


def _violations(answer: httpx.Response) -> Iterator[str]:
    status = answer.status_code
    if 300 <= status < 400 and status != 304:
        yield f"a redirect ({status}) to {answer.headers.get('location')!r} stops provisioning"
    if status >= 500 and status != 501:
        yield f"{status}: a fault of the server"
    if status == 401 and not answer.headers.get("www-authenticate", "").startswith("Bearer"):
        yield "401 without WWW-Authenticate: Bearer"
    if status == 204 or not answer.content:
        if answer.content:
            yield f"204 with a body: {answer.text!r}"
        if status not in (204, 304) and answer.request.method != "HEAD":
            yield f"{status} without a body"
        return
    media_type = answer.headers.get("content-type", "").split(";")[0].strip()
    if media_type != MEDIA_TYPE:
        yield f"Content-Type is {media_type!r}, not {MEDIA_TYPE}"
        return
    body = answer.json()
    yield from _nulls(body, "$")
    if status >= 400:
        yield from _error(body, status)
    elif body.get("schemas") == [LIST]:
        yield from _list(body)
    else:
        yield from _resource(body)
    if status == 201:
        location, shown = answer.headers.get("location"), body.get("meta", {}).get("location")
        projected = {"attributes", "excludedAttributes"} & answer.url.params.keys()
        if location is None or (location != shown and not (shown is None and projected)):
            yield f"Location {location!r} is not meta.location"


def _nulls(value: Any, at: str) -> Iterator[str]:
    """An attribute without a value is left out (RFC 7643 section 2.5)."""
    if value is None:
        yield f"{at} is null"
    elif isinstance(value, dict):
        for name, member in value.items():
            yield from _nulls(member, f"{at}.{name}")
    elif isinstance(value, list):
        for index, element in enumerate(value):
            yield from _nulls(element, f"{at}[{index}]")


def _error(body: Any, status: int) -> Iterator[str]:
    """RFC 7644 section 3.12; the detail is what an administrator gets to read."""
    if body.get("schemas") != [ERROR]:
        yield f"the schemas of an error are {body.get('schemas')!r}"
    if body.get("status") != str(status):
        yield f"status is {body.get('status')!r}, not the string {str(status)!r}"
    if body.get("scimType", "uniqueness") not in SCIM_TYPES:
        yield f"scimType {body['scimType']!r} is not in RFC 7644 table 9"
    if not isinstance(body.get("detail"), str) or not body["detail"].strip():
        yield "an error without detail"


def _list(body: dict[str, Any]) -> Iterator[str]:
    """RFC 7644 section 3.4.2; Entra ID wants Resources even where it is empty."""
    resources = body.get("Resources")
    if not isinstance(resources, list):
        yield "a list without Resources"
        return
    if not isinstance(body.get("totalResults"), int) or body["totalResults"] < len(resources):
        yield f"totalResults is {body.get('totalResults')!r} with {len(resources)} Resources"
    if body.get("itemsPerPage", len(resources)) < len(resources):
        yield f"itemsPerPage is {body['itemsPerPage']!r} with {len(resources)} Resources"
    ids = [resource.get("id") for resource in resources if "id" in resource]
    if len(ids) != len(set(ids)):
        yield "the same resource twice"
    for resource in resources:
        yield from _resource(resource)


def _resource(body: dict[str, Any]) -> Iterator[str]:
    schemas = body.get("schemas")
    if not isinstance(schemas, list) or not schemas or len(schemas) != len(set(schemas)):
        yield f"schemas are {schemas!r}"
        return
    kind = next((urn for urn in RESOURCES if urn in schemas), None)
    if kind is None:
        return
    if not isinstance(body.get("id"), str) or not body["id"]:
        yield f"a resource with the id {body.get('id')!r}"
    yield from (
        f"{name} is there, but not in schemas"
        for name in body
        if name.startswith("urn:") and name not in schemas
    )
    if meta := body.get("meta"):
        name = kind.removeprefix(CORE)
        if meta.get("resourceType", name) != name:
            yield f"meta.resourceType is {meta['resourceType']!r}"
        if not meta.get("location", f"/{name}s/{body['id']}").endswith(f"/{name}s/{body['id']}"):
            yield f"meta.location is {meta['location']!r}"
