"""Prints what everybody may do, and then every change.

    MUSTER_CREDENTIAL=… python follow.py http://127.0.0.1:7071 [TENANT …]

The credential is a tenant's own token of kind `access`; or, with the names of tenants, one of the
deployment (`manage.py credential create --kind application`).
"""

import asyncio
import os
import sys

from muster_client import Access, Copy, User


async def main(url: str, *tenants: str) -> None:
    """Until Ctrl+C."""
    copy = Copy()  # a real application reads it from its database
    async with Access(url, os.environ["MUSTER_CREDENTIAL"], tenants=tenants) as access:
        async for changes in access.follow(copy):
            for change in changes:
                sys.stdout.write(f"{' '.join(change.key).strip()} {told(change.after)}\n")
            sys.stdout.flush()  # and saves these users and copy.position in one transaction


def told(user: User | None) -> str:
    """A user's access as a line of text."""
    if user is None:
        return "deleted"
    state = "enabled" if user.enabled else f"disabled ({', '.join(user.reasons)})"
    return f"version {user.version}: {state}, {', '.join(sorted(user.grants)) or 'no grants'}"


if __name__ == "__main__":
    try:
        asyncio.run(main(*(sys.argv[1:] or ["http://127.0.0.1:7071"])))
    except KeyboardInterrupt:
        sys.exit(0)
