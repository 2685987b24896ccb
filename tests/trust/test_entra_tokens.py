"""Entra ID's own tokens: which are let in, and that nothing else is (product section 2)."""

import hashlib
import hmac
import json
import re
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import jwt
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from administration.connections import Connections
from administration.directories import Directories
from administration.tenants import create_tenant
from tests.environment import Environment, change_tenant, running
from tests.scim.messages import user
from tests.trust.issuer import (
    DIRECTORY,
    OTHER_DIRECTORY,
    TENANT,
    Issuer,
    encoded,
    private_key,
    published,
    signed,
)
from trust.cloud import NON_GALLERY, PROVISIONING
from trust.entra import OF_PEOPLE
from trust.keysets import parse_key_set

CHALLENGE = re.compile(
    r'Bearer realm="muster", error="invalid_token"(, error_description="[ -!#-\[\]-~]+")?'
)


async def ask(muster: Environment, token: str) -> httpx.Response:
    """The answer to Test Connection with this token."""
    headers = {"Authorization": f"Bearer {token}"}
    query = {"filter": 'userName eq "7a7c8a9c"'}
    return await muster.client.get("/Users", headers=headers, params=query)


@pytest.mark.parametrize("version", ["1.0", "2.0"])
async def test_a_token_of_the_directory_is_let_in(
    muster: Environment, issuer: Issuer, version: str
) -> None:
    assert (await ask(muster, issuer.token(version))).status_code == 200
    path = "discovery/keys" if version == "1.0" else "discovery/v2.0/keys"
    assert issuer.asked == [f"/{DIRECTORY}/{path}"]
    headers = {"Authorization": f"Bearer {issuer.token(version)}"}
    created = await muster.client.post("/Users", json=user("ada"), headers=headers)
    assert created.status_code == 201
    stored = await muster.application.store.read(TENANT, f"user:{created.json()['id']}")
    assert stored.document["connectionId"] == "entra"
    assert len(issuer.asked) == 1, "keys are remembered"


def seconds(**offsets: int) -> dict[str, Any]:
    """Times from now."""
    return {name: int(time.time()) + offset for name, offset in offsets.items()}


@pytest.mark.parametrize(
    ("offsets", "status"),
    [
        ({"exp": -30}, 200),
        ({"exp": -90}, 401),
        ({"nbf": 30}, 200),
        ({"nbf": 90}, 401),
        ({"iat": 30, "nbf": 30}, 200),
        ({"iat": 90}, 401),
    ],
)
async def test_clocks_may_differ_by_a_minute(
    muster: Environment, issuer: Issuer, offsets: dict[str, int], status: int
) -> None:
    answer = await ask(muster, issuer.token(**seconds(**offsets)))
    assert answer.status_code == status
    if status == 401:
        reason = "has expired" if "exp" in offsets else "not valid yet"
        assert reason in answer.headers["WWW-Authenticate"]
        assert reason in answer.json()["detail"]


def hmac_with_public_key(issuer: Issuer) -> str:
    """HS256 with the published key as the secret (RFC 8725 section 2.1)."""
    from cryptography.hazmat.primitives import serialization as s

    public = private_key("first").public_key()
    pem = public.public_bytes(s.Encoding.PEM, s.PublicFormat.SubjectPublicKeyInfo)
    header = encoded(json.dumps({"alg": "HS256", "kid": "first"}).encode())
    body = f"{header}.{encoded(json.dumps(issuer.claims()).encode())}"
    return f"{body}.{encoded(hmac.digest(pem, body.encode(), hashlib.sha256))}"


def with_header(issuer: Issuer, **header: Any) -> str:
    """A good token whose header was changed afterwards."""
    _, claims, signature = issuer.token().split(".")
    full = {"alg": "RS256", "kid": "first", "typ": "JWT"} | header
    return f"{encoded(json.dumps(full).encode())}.{claims}.{signature}"


def with_claims(issuer: Issuer, **changes: Any) -> str:
    """A good token whose claims were changed afterwards."""
    header, _, signature = issuer.token().split(".")
    return f"{header}.{encoded(json.dumps(issuer.claims(**changes)).encode())}.{signature}"


def of_other_algorithm(issuer: Issuer, algorithm: str) -> str:
    """Signed with the right key in another way."""
    return jwt.encode(issuer.claims(), private_key("first"), algorithm, {"kid": "first"})


def unsigned(issuer: Issuer, algorithm: str) -> str:
    """Without a signature."""
    header = encoded(json.dumps({"alg": algorithm, "kid": "first"}).encode())
    return f"{header}.{encoded(json.dumps(issuer.claims()).encode())}."


def other(issuer: Issuer, **changes: Any) -> str:
    """Of a directory that is nobody's here."""
    return issuer.token(tid=OTHER_DIRECTORY, **changes)


type Forge = Callable[[Issuer], str]
FORGERIES: dict[str, Forge] = {
    "no signature, alg none": lambda i: unsigned(i, "none"),
    "no signature, alg NoNe": lambda i: unsigned(i, "NoNe"),
    "no signature, alg RS256": lambda i: unsigned(i, "RS256"),
    "alg none, with a signature": lambda i: with_header(i, alg="none"),
    "HMAC with the public key": hmac_with_public_key,
    "RS512 with the right key": lambda i: of_other_algorithm(i, "RS512"),
    "PS256 with the right key": lambda i: of_other_algorithm(i, "PS256"),
    "no kid": lambda i: with_header(i, kid=None),
    "a kid that is no text": lambda i: with_header(i, kid=7),
    "an endless kid": lambda i: with_header(i, kid="k" * 5000),
    "a kid that is a path": lambda i: with_header(i, kid="../../etc/passwd"),
    "a kid that nobody publishes": lambda i: i.token(key="unpublished"),
    "another key under a published kid": lambda i: i.token(key="forged", header={"kid": "first"}),
    "a key of its own in jwk": lambda i: i.token(
        key="forged", header={"kid": "first", "jwk": published("forged")}
    ),
    "keys of its own in jku": lambda i: i.token(key="forged", header={"jku": f"{i.url}/evil/keys"}),
    "a certificate of its own": lambda i: i.token(
        key="forged", header={"kid": "first", "x5u": f"{i.url}/evil", "x5c": ["MIIB"]}
    ),
    "an unknown critical header": lambda i: i.token(header={"crit": ["mine"], "mine": 1}),
    "claims changed after signing": lambda i: with_claims(i, sub="somebody else"),
    "another tenant's directory, signed": other,
    "an issuer that does not match tid": lambda i: i.token(
        iss=f"https://sts.windows.net/{OTHER_DIRECTORY}/"
    ),
    "a tid that does not match the issuer": lambda i: other(
        i, iss=f"https://sts.windows.net/{DIRECTORY}/"
    ),
    "an issuer without its slash": lambda i: i.token(iss=f"https://sts.windows.net/{DIRECTORY}"),
    "an issuer of the other version": lambda i: i.token(iss=f"{i.url}/{DIRECTORY}/v2.0"),
    "an issuer that begins alike": lambda i: i.token(
        iss=f"https://sts.windows.net.evil.example/{DIRECTORY}/"
    ),
    "the issuer of all directories": lambda i: i.token("2.0", iss=f"{i.url}/common/v2.0"),
    "no issuer": lambda i: i.token(iss=None),
    "two issuers": lambda i: i.token(iss=[f"https://sts.windows.net/{DIRECTORY}/"]),
    "no tid": lambda i: i.token(tid=None, iss=f"https://sts.windows.net/{DIRECTORY}/"),
    "a tid that is no GUID": lambda i: i.token(tid="common"),
    "a tid that is a path": lambda i: i.token(tid=f"../{DIRECTORY}"),
    "a tid in capitals": lambda i: i.token(tid=DIRECTORY.upper()),
    "a tid that is no text": lambda i: i.token(tid={"$ne": ""}),
    "no version": lambda i: i.token(ver=None),
    "a version that is not known": lambda i: i.token(ver="3.0"),
    "another audience": lambda i: i.token(aud="api://else"),
    "an audience that begins alike": lambda i: i.token(aud=NON_GALLERY + "0"),
    "several audiences": lambda i: i.token(aud=[NON_GALLERY, "api://else"]),
    "no audience": lambda i: i.token(aud=None),
    "no expiry": lambda i: i.token(exp=None),
    "an expiry that is no time": lambda i: i.token(exp="soon"),
    "expired": lambda i: i.token(**seconds(iat=-7200, nbf=-7200, exp=-3600)),
    "not valid yet": lambda i: i.token(**seconds(nbf=3600, exp=7200)),
    "issued to another application": lambda i: i.token(appid="api://else"),
    "issued to nobody": lambda i: i.token(appid=None),
    "the application of the other version": lambda i: i.token(appid=None, azp=PROVISIONING),
    "a user's": lambda i: i.token(scp="user_impersonation"),
    "a user's by idtyp": lambda i: i.token(idtyp="user"),
    "four parts": lambda i: i.token() + ".AAAA",
    "two parts": lambda i: i.token().rpartition(".")[0],
    "padded": lambda i: i.token() + "==",
    "header that is no object": lambda i: f"{encoded(b'[]')}.{i.token().partition('.')[2]}",
    "header that is no JSON": lambda i: f"ey{i.token()}",
    "encrypted": lambda i: f"{i.token().partition('.')[0]}.a.b.c.d",
    "far too long": lambda i: i.token(filler="x" * 20_000),
    "twice": lambda i: f"{i.token()} {i.token()}",
}


async def test_a_forged_or_broken_token_is_refused(muster: Environment, issuer: Issuer) -> None:
    for name, forge in FORGERIES.items():
        answer = await ask(muster, forge(issuer))
        assert answer.status_code == 401, name
        assert CHALLENGE.fullmatch(answer.headers["WWW-Authenticate"]), name
        assert TENANT not in answer.text + str(answer.headers), name
        assert DIRECTORY not in answer.text + str(answer.headers), name
        assert (await ask(muster, issuer.token())).status_code == 200, name
    assert set(issuer.asked) <= {
        f"/{DIRECTORY}/discovery/keys",
        f"/{DIRECTORY}/discovery/v2.0/keys",
    }, "an address from the token, or of a directory that nobody registered"


def test_there_are_enough_forgeries() -> None:
    assert len(FORGERIES) >= 25


async def test_why_is_told_only_of_what_the_directory_signed(
    muster: Environment, issuer: Issuer
) -> None:
    unproven = [await ask(muster, forge(issuer)) for forge in FORGERIES.values()]
    told = {each.headers["WWW-Authenticate"] for each in unproven}
    reasons = {each.partition('error_description="')[2].strip('"') for each in told} - {""}
    assert reasons == {
        "the token has expired",
        "the token is not valid yet",
        "the token is meant for another audience",
        "the token was issued to another application",
        "the token was issued to no application",
        "the token speaks for a user",
    }
    unknown = await ask(muster, other(issuer))
    forged = await ask(muster, FORGERIES["another key under a published kid"](issuer))
    unsigned_and_expired = with_claims(issuer, **seconds(exp=-3600))
    expired = await ask(muster, unsigned_and_expired)
    assert unknown.text == forged.text == expired.text


@settings(
    max_examples=150,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(data=st.data())
async def test_no_mutation_of_a_token_is_let_in(
    muster: Environment, issuer: Issuer, data: st.DataObject
) -> None:
    """One that decodes to the same bytes is the same token; there is none such, because base64url
    is refused where its last character has stray bits."""
    token = issuer.token()
    at = data.draw(st.integers(0, len(token) - 1), label="at")
    kind = data.draw(st.sampled_from(["replace", "insert", "delete", "cut", "swap"]), label="kind")
    letter = data.draw(st.sampled_from("Aa0_-.=+/ é\t"), label="letter")
    mutated = {
        "replace": token[:at] + letter + token[at + 1 :],
        "insert": token[:at] + letter + token[at:],
        "delete": token[:at] + token[at + 1 :],
        "cut": token[:at],
        "swap": token[at:] + token[:at],
    }[kind].strip()
    if mutated == token:
        return
    headers = {b"Authorization": f"Bearer {mutated}".encode()}
    answer = await muster.client.get("/Users", headers=headers)
    assert answer.status_code == 401


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    name=st.sampled_from(["iss", "aud", "tid", "ver", "exp", "appid"]),
    value=st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
        max_leaves=5,
    ),
)
async def test_no_odd_value_of_a_claim_is_let_in_or_fails(
    muster: Environment, issuer: Issuer, name: str, value: Any
) -> None:
    """Signed by the directory, and still nothing that the claim may be."""
    claims = issuer.claims()
    if name == "exp" and isinstance(value, int | float) and value > time.time() - 60:
        return
    answer = await ask(muster, signed(claims | {name: value}))
    assert answer.status_code == 401


PEOPLE: dict[str, dict[str, Any]] = {
    "an ID token 1.0": {"ver": "1.0", "appid": None, "upn": "ada@acme.example"},
    "an ID token 2.0": {"ver": "2.0", "azp": None, "preferred_username": "ada@acme.example"},
    "an ID token without a name": {"ver": "1.0", "appid": None},
    "an empty application": {"ver": "1.0", "appid": ""},
    **{
        f"a person's {claim}": {"ver": version, claim: "ada"}
        for version in ("1.0", "2.0")
        for claim in OF_PEOPLE
    },
}


@pytest.mark.parametrize("claims", PEOPLE.values(), ids=[*PEOPLE])
async def test_where_any_application_may_provision_a_person_may_not(
    tmp_path: Path, issuer: Issuer, claims: dict[str, Any]
) -> None:
    async with running(
        tmp_path, tenant_id=TENANT, entra_login_url=issuer.url, entra_applications=()
    ) as muster:
        await muster.changing(Directories).register(DIRECTORY)
        assert (await ask(muster, issuer.token(appid="any-other"))).status_code == 200
        version = claims["ver"]
        refused = await ask(muster, issuer.token(version, **claims))
        assert refused.status_code == 401


async def test_the_log_says_which_token_was_refused_and_never_the_token(
    muster: Environment, issuer: Issuer, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", "muster")
    another = "22222222-0000-0000-0000-000000000000"
    named = f"directory {DIRECTORY}, application {another}"
    object_id = "object 11111111-2222-3333-4444-555555555555"
    mistyped = muster.token[:-1] + ("0" if muster.token[-1] != "0" else "1")
    for token, said in (
        (
            issuer.token(appid=another),
            f"refused (Unproven): token of {named}, {object_id}: the token was issued to another",
        ),
        (issuer.token(tid="Ada Lovelace"), "token of directory -, application"),
        (mistyped, f"refused (Unproven): scim token {mistyped.split('_')[3]} of {TENANT}"),
        (mistyped.replace(TENANT, "ada-lovelace"), "of no tenant"),
        ("eyJ.x.y", "a signed token that cannot be read"),
        ("muster_oauth_eyJ.x.y", "an access token that cannot be read"),
        ("Ada Lovelace", "a token of no known form"),
    ):
        caplog.clear()
        assert (await ask(muster, token)).status_code == 401
        assert said in caplog.text
        assert token[-30:] not in caplog.text
        assert "lovelace" not in caplog.text.lower()


class TestWhatATenantSays:
    """Its own audience and applications, or no such tokens at all."""

    async def test_audience_and_applications(self, muster: Environment, issuer: Issuer) -> None:
        own = issuer.token(aud="api://muster", appid="22222222-0000-0000-0000-000000000000")
        assert (await ask(muster, own)).status_code == 401
        changes = {
            "audiences": ("api://muster",),
            "applications": ("22222222-0000-0000-0000-000000000000",),
        }
        await muster.changing(Directories).change_trust(changes)
        forget(muster)
        assert (await ask(muster, own)).status_code == 200
        assert (await ask(muster, issuer.token())).status_code == 401, "in place of the default"

    async def test_it_may_refuse_them(self, muster: Environment, issuer: Issuer) -> None:
        await muster.changing(Directories).change_trust({"accepted": False})
        assert (await ask(muster, issuer.token())).status_code == 401
        assert (await ask(muster, muster.token)).status_code == 200

    async def test_they_are_the_connection_entra_whatever_else_there_is(
        self, muster: Environment, issuer: Issuer
    ) -> None:
        await muster.changing(Connections).create("a-first", "Another")
        headers = {"Authorization": f"Bearer {issuer.token()}"}
        created = await muster.client.post(
            "/Groups", json={"displayName": "Sales"}, headers=headers
        )
        stored = await muster.application.store.read(TENANT, f"group:{created.json()['id']}")
        assert stored.document["connectionId"] == "entra"

    async def test_another_directory_takes_the_first_ones_place(
        self, muster: Environment, issuer: Issuer
    ) -> None:
        await muster.changing(Directories).register(OTHER_DIRECTORY)
        assert (await ask(muster, issuer.token())).status_code == 401
        assert (await ask(muster, issuer.token(tid=OTHER_DIRECTORY))).status_code == 200

    async def test_a_directory_of_another_region_is_sent_there(
        self, muster: Environment, issuer: Issuer
    ) -> None:
        """Only who proves to be of the directory is told where it is at home."""
        service = muster.application.service
        await create_tenant(service.store, "elsewhere", "Elsewhere", "us")
        await Directories(service, "elsewhere").register(OTHER_DIRECTORY)
        proven = await ask(muster, issuer.token(tid=OTHER_DIRECTORY))
        assert (proven.status_code, '"us"' in proven.json()["detail"]) == (403, True)
        assert (await ask(muster, with_claims(issuer, tid=OTHER_DIRECTORY))).status_code == 401


async def test_they_open_nothing_but_scim(muster: Environment, issuer: Issuer) -> None:
    headers = {"Authorization": f"Bearer {issuer.token()}"}
    answer = await muster.access.get("/users?userName=ada", headers=headers)
    assert answer.status_code == 401


async def test_a_claim_without_its_tenant_lets_nobody_in(
    muster: Environment, issuer: Issuer
) -> None:
    """Claim and tenant must agree, so that a death between the two writes opens nothing."""
    store = muster.application.store
    await change_tenant(
        store, TENANT, lambda tenant: tenant.model_copy(update={"directory_id": None})
    )
    assert (await ask(muster, issuer.token())).status_code == 401


def forget(muster: Environment) -> None:
    """As after some seconds: tenants are read again."""
    muster.application.authenticator._tenants._tenants._known.clear()
    muster.application.authenticator._tenants._claims._known.clear()


def test_what_is_taken_from_a_key_set() -> None:
    keys = [
        published("first"),
        published("short"),
        published("encryption", use="enc"),
        published("other-algorithm", alg="PS256"),
        {"kty": "EC", "kid": "curve", "crv": "P-256", "x": "AA", "y": "AA"},
        {"kty": "oct", "kid": "symmetric", "k": "AAAA"},
        published("no-modulus", n=""),
        published("garbage", n="!!"),
        published("numbered") | {"kid": 7},
        "text",
    ]
    assert parse_key_set(json.dumps({"keys": keys}).encode()).keys() == {"first"}
    for broken in (b"", b"[]", b"{}", b'{"keys": {}}', b'{"keys": []}', b"\xff", b'{"keys":[1]}'):
        with pytest.raises(ValueError):
            parse_key_set(broken)
