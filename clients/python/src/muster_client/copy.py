"""The application's own copy of everybody's access."""

from dataclasses import dataclass, field, replace


@dataclass(frozen=True, slots=True)
class User:
    """What a user may do. Two are equal if the access is equal; names do not count."""

    tenant: str
    """Empty if the credential is the tenant's own."""
    id: str
    """The SCIM id."""
    version: int
    """Grows with every change, also with changes that make no difference here."""
    enabled: bool
    grants: frozenset[str]
    """`kind:key` of each grant, such as `role:owner`."""
    pending: bool = False
    """Muster is about to compute this user's access. Until then the user may have too little
    access, but not too much."""
    reasons: tuple[str, ...] = ()
    """Why the user is disabled."""
    user_name: str | None = field(default=None, compare=False)
    """As of the last answer about the user: changes carry no names."""
    external_id: str | None = field(default=None, compare=False)
    """As of the last answer, like `user_name`. From Entra ID it is the object id."""

    @property
    def key(self) -> tuple[str, str]:
        """(tenant, id): the user's key in a copy."""
        return self.tenant, self.id


@dataclass(frozen=True, slots=True)
class Change:
    """A change of a user in a copy."""

    tenant: str
    id: str
    before: User | None
    """None: the copy did not have the user."""
    after: User | None
    """None: the user was deleted."""

    @property
    def key(self) -> tuple[str, str]:
        """(tenant, id): the user's key in a copy."""
        return self.tenant, self.id


@dataclass(slots=True)
class Copy:
    """Everybody's access, and how far the changes are applied. A real application keeps both in its
    database, and writes them in one transaction."""

    position: str | None = None
    """The position of the feed; None: begin with a list of everybody."""
    users: dict[tuple[str, str], User] = field(default_factory=dict)
    """(tenant, id) → user."""

    def put(self, user: User) -> list[Change]:
        """Store what Muster answered about a user, unless the copy is newer."""
        known = self.users.get(user.key)
        if known and known.version > user.version:
            return []
        return self.set(user.tenant, user.id, user)

    def apply(self, tenant: str, id: str, version: int, after: User | None) -> list[Change]:
        """Apply a change from the feed, which may repeat. A version that the copy has already is
        ignored, so a user who is pending and disabled in it stays disabled."""
        known = self.users.get((tenant, id))
        if known and after:
            if known.version >= version:
                return []
            after = replace(after, user_name=known.user_name, external_id=known.external_id)
        elif known and known.version > version:
            return []
        return self.set(tenant, id, after)

    def set(self, tenant: str, id: str, after: User | None) -> list[Change]:
        """Store a user, or remove one (None), whatever the copy has."""
        before = self.users.pop((tenant, id), None)
        if after:
            self.users[tenant, id] = after
        return [Change(tenant, id, before, after)] if before != after else []

    def replaced_by(self, fresh: "Copy") -> list[Change]:
        """Become another copy."""
        before, self.users, self.position = self.users, fresh.users, fresh.position
        both = ((key, before.get(key), self.users.get(key)) for key in {**before, **self.users})
        return [Change(*key, old, new) for key, old, new in both if old != new]
