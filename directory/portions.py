"""How much of large work is done at once: what one batch holds, and what one message, request or
run does before others get their turn."""

from dataclasses import dataclass

from directory.store import BATCH_OPERATIONS


@dataclass(frozen=True, slots=True)
class Portions:
    """The outcome is the same whatever the sizes; they decide in how many pieces it is reached."""

    edges_beside_group: int = 90
    """The most changed memberships that are written in the batch of the request, beside the group,
    the event and the usual reservations; further reservations reduce it."""
    edges_per_batch: int = BATCH_OPERATIONS - 2
    """Memberships of a larger change in each batch that follows; the event and the group take one
    operation each."""
    users_per_batch: int = (BATCH_OPERATIONS - 3) // 2
    """Users whose records are written in one batch: a record and a change for each, one outbox row,
    one Protection, and the event's counters of loss. As many are a page."""
    steps_per_batch: int = 400_000
    """Steps (`directory.lanes`) that one batch of records may take to compute and to write, some
    0.4 s; users with many grants are written fewer at a time."""
    pages_per_message: int = 10
    """Pages of users per message: what a tenant's big event does before others get their turn."""
    steps_per_message: int = 1_000_000
    """Steps after which a message takes no further page: about a second of processor time, which
    fewer pages use up where users have hundreds of grants."""
    edges_per_message: int = 5_000
    """Memberships of a deleted group that one message removes."""
    groups_per_event: int = 4
    """Groups that an event walks by itself, in its first message; more are left to a walk that
    several events share."""
    documents_per_page: int = 200
    """Users and groups of an earlier version's store that are read at once, to be renewed."""
    pages_per_request: int = 10
    """How many of these pages a request that reserves a value reads."""
    pages_per_run: int = 50
    """How many of them a run of the timer reads per tenant."""


PORTIONS = Portions()
"""What a deployment works with."""
