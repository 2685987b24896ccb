"""Parsing a token request: its form, and how the client authenticates. Pure."""

import binascii
from base64 import b64decode
from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import parse_qsl, unquote_plus

from oauth.errors import InvalidClient, InvalidRequest, UnsupportedGrantType

FORM = "application/x-www-form-urlencoded"
ASSERTION_TYPE = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
PARAMETERS = 20


@dataclass(frozen=True, slots=True)
class Credentials:
    """The credentials in a request: a secret, or else an assertion."""

    client_id: str
    secret: str = ""
    assertion: str = ""


def parse_form(content_type: str, body: bytes) -> dict[str, str]:
    """The parameters that have a value (RFC 6749 section 3.2: one without a value counts as
    omitted). Raises InvalidRequest."""
    if content_type.partition(";")[0].strip().lower() != FORM:
        raise InvalidRequest(f"Send the parameters as {FORM}.")
    try:
        pairs = parse_qsl(
            body.decode("ascii"),
            keep_blank_values=True,
            encoding="utf-8",
            errors="strict",
            max_num_fields=PARAMETERS,
        )
    except ValueError:
        raise InvalidRequest("The body is no form of UTF-8 parameters.") from None
    parameters: dict[str, str] = {}
    for name, value in pairs:
        if name in parameters:
            raise InvalidRequest("A parameter is there more than once.")
        parameters[name] = value
    return {name: value for name, value in parameters.items() if value}


def check_grant(form: Mapping[str, str]) -> None:
    """Raises InvalidRequest, UnsupportedGrantType."""
    if "grant_type" not in form:
        raise InvalidRequest("grant_type is missing; it must be client_credentials.")
    if form["grant_type"] != "client_credentials":
        raise UnsupportedGrantType("grant_type must be client_credentials.")


def credentials(authorization: str | None, form: Mapping[str, str]) -> Credentials:
    """How the client authenticates: in exactly one way (RFC 6749 section 2.3). Raises
    InvalidRequest, InvalidClient."""
    basic = _basic(authorization) if authorization else None
    secret, assertion = form.get("client_secret", ""), form.get("client_assertion", "")
    if sum((basic is not None, bool(secret), bool(assertion))) > 1:
        raise InvalidRequest(
            "The client authenticates in more than one way. Use one: the Authorization header, "
            "client_secret, or client_assertion."
        )
    client_id = form.get("client_id", "")
    if basic is not None:
        if client_id not in ("", basic.client_id):
            raise InvalidRequest("client_id is another one than in the Authorization header.")
        return basic
    if assertion and form.get("client_assertion_type") != ASSERTION_TYPE:
        raise InvalidRequest(f"client_assertion_type must be {ASSERTION_TYPE}.")
    if assertion and not client_id:
        raise InvalidRequest("client_id is missing beside client_assertion.")
    if not client_id or not (secret or assertion):
        raise InvalidClient(
            "The request does not say who the client is: send client id and secret in an "
            "Authorization header (Basic) or as client_id and client_secret, or an assertion."
        )
    return Credentials(client_id, secret, assertion)


def _basic(authorization: str) -> Credentials:
    """RFC 6749 section 2.3.1: id and secret are form-encoded before they are joined."""
    scheme, _, encoded = authorization.partition(" ")
    if scheme.lower() != "basic":
        raise InvalidClient("The Authorization header must be Basic, with client id and secret.")
    try:
        text = b64decode(encoded.strip(), validate=True).decode("utf-8")
    except (binascii.Error, ValueError):
        raise InvalidClient("The Authorization header is no Basic credential.") from None
    client_id, colon, secret = text.partition(":")
    if not (client_id and colon and secret):
        raise InvalidClient("The Authorization header holds no client id and secret.")
    return Credentials(unquote_plus(client_id), unquote_plus(secret))
