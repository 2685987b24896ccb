"""A tenant in one file: what administrators and operators decided, and nothing that is secret.

It moves a tenant to another region or from staging to production, and restores it after a region is
lost. Users, groups' members and everything computed from them are not in it: Entra ID brings them
again (Provisioning, Restart). Neither are the keys that sign access tokens, nor any text of a
token.
"""

from collections.abc import Mapping
from datetime import datetime
from typing import Any, Literal

import orjson
from pydantic import Field

from administration.catalog import CatalogEntry, list_catalog
from administration.errors import AdministrationError
from administration.files import read_json
from administration.tenants import read_tenant
from directory.documents import EntitlementKey, Model, group_id
from directory.documents import Mapping as GroupMapping
from directory.reading import every, read_all
from directory.resources import StoredGroup
from directory.store import Query
from directory.tenants import EntraTrust, Policy, Tenant, Token
from scim.protocol.discovery import schemas_for
from scim.protocol.schema import ResourceType
from scim.writing import Service

VERSION = 1


class ExportedFederation(Model):
    """A workload identity that replaces a client's secret, without the key that signs its access
    tokens."""

    federation_id: str
    issuer: str
    subject: str
    audience: str
    keys_url: str
    created: datetime


class ExportedSecret(Token):
    """A secret of an OAuth client, without the key that signs its access tokens."""


class ExportedClient(Model):
    """An OAuth client; of its secrets only the digests."""

    client_id: str
    created: datetime
    secrets: tuple[ExportedSecret, ...] = ()
    federation: ExportedFederation | None = None


class ExportedConnection(Model):
    """An Enterprise Application."""

    connection_id: str
    name: str
    tokens: tuple[Token, ...] = ()
    client: ExportedClient | None = None


class ExportedSettings(Model):
    """The tenant itself; of its tokens only the digests."""

    id: str
    name: str
    region: str
    provisioning: Literal["disabled", "enabled"]
    directory_id: str | None = None
    entra: EntraTrust = EntraTrust()
    policy: Policy = Policy()
    connections: tuple[ExportedConnection, ...] = ()
    access_tokens: tuple[Token, ...] = ()
    console_tokens: tuple[Token, ...] = ()


class ExportedGroup(Model):
    """A group with what its members get."""

    external_id: str | None = None
    display_name: str
    entitlements: tuple[EntitlementKey, ...]


class TenantFile(Model):
    """`{"format": "muster-tenant", "version": 1, "tenant": {…}, "catalog": […], "groups": […]}`.

    `schemas` are the extension schemas (SCIM Schema resources) that the deployment served.
    """

    format: Literal["muster-tenant"] = "muster-tenant"
    version: int = VERSION
    exported_at: datetime
    tenant: ExportedSettings
    catalog: tuple[CatalogEntry, ...] = ()
    groups: tuple[ExportedGroup, ...] = ()
    schemas: tuple[dict[str, Any], ...] = Field(default=())

    def to_json(self) -> bytes:
        """The file's text, in a fixed order, so that two exports can be compared."""
        content = self.model_dump(mode="json", by_alias=True, exclude_none=True)
        return orjson.dumps(content, option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE)


async def export_tenant(service: Service, tenant_id: str) -> TenantFile:
    """The tenant's file. Raises AdministrationError where there is no such tenant."""
    tenant = await read_tenant(service.store, tenant_id)
    catalog = await list_catalog(service.store, tenant_id)
    return TenantFile(
        exported_at=service.now(),
        tenant=_settings(tenant),
        catalog=tuple(
            CatalogEntry(kind=one.kind, key=one.key, display_name=one.display_name)
            for one in catalog
        ),
        groups=await _groups(service, tenant_id),
        schemas=tuple(extension_schemas(service.resource_types).values()),
    )


def parse_tenant_file(content: bytes) -> TenantFile:
    """Read a tenant's file. Raises AdministrationError for a file of another kind or version, and
    for one with members that this version does not know."""
    what = "The tenant's file"
    file = read_json(TenantFile, content, what)
    if file.version != VERSION:
        raise AdministrationError(
            f"{what} has version {file.version}; this Muster reads version {VERSION}. Import it "
            "with the Muster that wrote it, or export it again."
        )
    known = file.model_dump(mode="json", by_alias=True, exclude_unset=True)
    unknown = _unknown(orjson.loads(content.removeprefix(b"\xef\xbb\xbf")), known, "")
    if unknown:
        raise AdministrationError(
            f"{what} says what this Muster does not know: {', '.join(unknown[:5])}. Nothing was "
            "imported. Remove that, or import it with the version that wrote it."
        )
    return file


def extension_schemas(resource_types: Mapping[str, ResourceType]) -> dict[str, dict[str, Any]]:
    """The extension schemas that are served (SCIM Schema resources), by lower-case URN."""
    core = {resource_type.schema.id for resource_type in resource_types.values()}
    served = schemas_for(resource_types, frozenset(), "")["Resources"]
    return {
        schema["id"].lower(): {key: value for key, value in schema.items() if key != "meta"}
        for schema in served
        if schema["id"] not in core
    }


def _settings(tenant: Tenant) -> ExportedSettings:
    """Only the fields of the exported models, so that no signing key is ever exported."""
    stored = dict(tenant) | {"id": tenant.tenant_id}
    return ExportedSettings.model_validate(stored, from_attributes=True)


async def _groups(service: Service, tenant_id: str) -> tuple[ExportedGroup, ...]:
    mappings = [
        GroupMapping.from_document(item.document)
        async for item in every(service.store, tenant_id, Query("Mapping", limit=1000))
    ]
    found = await read_all(service.store, tenant_id, [group_id(one.group_id) for one in mappings])
    groups = []
    for mapping in mappings:
        if stored := found.get(group_id(mapping.group_id)):
            group = StoredGroup.of(stored)
            groups.append(
                ExportedGroup(
                    external_id=group.external_id,
                    display_name=group.display_name,
                    entitlements=mapping.entitlements,
                )
            )
    return tuple(sorted(groups, key=lambda group: (group.display_name, group.external_id or "")))


def _unknown(given: Any, known: Any, path: str) -> list[str]:
    """The paths (such as `tenant.policy.x`) of members of `given` that its parsed form `known`
    lacks."""
    if isinstance(given, list) and isinstance(known, list):
        pairs = enumerate(zip(given, known, strict=True))
        return [name for index, (a, b) in pairs for name in _unknown(a, b, f"{path}[{index}]")]
    if not (isinstance(given, dict) and isinstance(known, dict)):
        return []
    found = []
    for key, value in given.items():
        here = f"{path}.{key}".lstrip(".")
        found += _unknown(value, known[key], here) if key in known else [here]
    return found
