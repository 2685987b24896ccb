"""The yardstick of `bench.micro`: a user declared by hand for pydantic, for exactly the input that
comes; no schemas, no choice of extensions, no dialect of Entra ID."""

from pydantic import BaseModel, ConfigDict, Field
from pydantic.alias_generators import to_camel


class _Model(BaseModel):
    model_config = ConfigDict(alias_generator=to_camel)


class Name(_Model):
    """RFC 7643 section 4.1.1."""

    formatted: str | None = None
    family_name: str | None = None
    given_name: str | None = None


class Valued(_Model):
    """An e-mail address or a telephone number."""

    value: str
    type: str | None = None
    primary: bool = False


class Address(_Model):
    """RFC 7643 section 4.1.2."""

    type: str | None = None
    primary: bool = False
    formatted: str | None = None
    street_address: str | None = None
    locality: str | None = None
    region: str | None = None
    postal_code: str | None = None
    country: str | None = None


class Enterprise(_Model):
    """RFC 7643 section 4.3."""

    employee_number: str | None = None
    department: str | None = None
    cost_center: str | None = None


class Employee(_Model):
    """The body that `bench.payloads.user` makes."""

    schemas: list[str]
    external_id: str | None = None
    user_name: str
    active: bool = True
    display_name: str | None = None
    title: str | None = None
    preferred_language: str | None = None
    name: Name | None = None
    emails: list[Valued] = []
    phone_numbers: list[Valued] = []
    addresses: list[Address] = []
    enterprise: Enterprise | None = Field(
        default=None, alias="urn:ietf:params:scim:schemas:extension:enterprise:2.0:User"
    )
