"""The application's own copy of everybody's access."""

from dataclasses import dataclass, field, replace


@dataclass(frozen=True, slots=True)
class User:
    """What a user may do. Two are equal where the access is; names do not count."""

    tenant: str
    """Empty where the credential is the tenant's own."""
    id: str
    """The SCIM id."""
    version: int
    """Grows with every change, and with some that make no difference here."""
    enabled: bool
    grants: frozenset[str]
    """`kind:key` of each."""
    pending: bool = False
    """Muster is about to compute this user's access; until then nobody is let in too much."""
    reasons: tuple[str, ...] = ()
    """Why the user is disabled."""
    user_name: str | None = field(default=None, compare=False)
    """When Muster was last asked for the user: changes tell no names, and no new ones."""
    external_id: str | None = field(default=None, compare=False)
    """As `user_name`. From Entra ID: the object id."""

    @property
    def key(self) -> tuple[str, str]:
        """Tenant and id: where a copy has the user."""
        return self.tenant, self.id


@dataclass(frozen=True, slots=True)
class Change:
    """What became of a user in a copy."""

    tenant: str
    id: str
    before: User | None
    """None: the copy did not have the user."""
    after: User | None
    """None: the user was deleted."""

    @property
    def key(self) -> tuple[str, str]:
        """Tenant and id: where a copy has the user."""
        return self.tenant, self.id


@dataclass(slots=True)
class Copy:
    """Everybody's access, and how far the changes are applied. A real application keeps both in its
    database, and writes them in one transaction."""

    position: str | None = None
    """Of the feed of changes; None: begin with a list of everybody."""
    users: dict[tuple[str, str], User] = field(default_factory=dict)
    """By tenant and id."""

    def put(self, user: User) -> list[Change]:
        """Keep what Muster answered about a user, unless what is known is newer."""
        known = self.users.get(user.key)
        if known and known.version > user.version:
            return []
        return self.set(user.tenant, user.id, user)

    def apply(self, tenant: str, id: str, version: int, after: User | None) -> list[Change]:
        """Apply a change from the feed, where it may come again. The same version may be known as
        pending: that a user is disabled already is not undone by it."""
        known = self.users.get((tenant, id))
        if known and after:
            if known.version >= version:
                return []
            after = replace(after, user_name=known.user_name, external_id=known.external_id)
        elif known and known.version > version:
            return []
        return self.set(tenant, id, after)

    def set(self, tenant: str, id: str, after: User | None) -> list[Change]:
        """Keep a user whatever is known, or forget one (None)."""
        before = self.users.pop((tenant, id), None)
        if after:
            self.users[tenant, id] = after
        return [Change(tenant, id, before, after)] if before != after else []

    def replaced_by(self, fresh: "Copy") -> list[Change]:
        """Become another copy."""
        before, self.users, self.position = self.users, fresh.users, fresh.position
        both = ((key, before.get(key), self.users.get(key)) for key in {**before, **self.users})
        return [Change(*key, old, new) for key, old, new in both if old != new]
