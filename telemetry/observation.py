"""What is learnt about one piece of work (a request, a message, a timer's run) while it goes on,
and the one log record that says it at the end.

Whoever learns something puts it on `current()`: the tenant once it is proven, what the store
charged. Tasks that a piece of work starts share its observation.
"""

import logging
import time
from contextvars import ContextVar, Token
from dataclasses import dataclass, field
from typing import Self


@dataclass(slots=True)
class Observation:
    """One piece of work, observed as a context manager: what it was is logged at its end,
    whatever the end is.

    `operation` is what is done, without a client's values: a method and a route, or a trigger's
    name. Empty texts are not known (yet).
    """

    log: logging.Logger
    operation: str
    request_id: str = ""
    tenant_id: str = ""
    event_id: str = ""
    network: str = ""
    """Where a request came from, see `telemetry.network`."""
    outcome: str = ""
    """A status code, or what came of a message."""
    request_units: float = 0.0
    """What Cosmos DB charged; SQLite charges nothing."""
    measures: dict[str, float] = field(default_factory=dict)
    """Figures of this work alone; alerts ask for them by name."""
    started: float = field(default_factory=time.perf_counter)
    _token: "Token[Observation | None] | None" = None

    def fields(self) -> dict[str, str | float]:
        """For a log record or a span; what is not known is left out."""
        told: dict[str, str | float] = {"operation": self.operation}
        if self.outcome:
            told["outcome"] = self.outcome
        told["milliseconds"] = round((time.perf_counter() - self.started) * 1000, 1)
        if self.tenant_id:
            told["tenant"] = self.tenant_id
        if self.request_id:
            told["request"] = self.request_id
        if self.event_id:
            told["event"] = self.event_id
        if self.network:
            told["network"] = self.network
        if self.request_units:
            told["requestUnits"] = round(self.request_units, 2)
        return told | self.measures

    def __enter__(self) -> Self:
        self._token = _current.set(self)
        return self

    def __exit__(self, _: object, error: BaseException | None, __: object) -> None:
        if self._token is not None:
            _current.reset(self._token)
        if error is not None:
            self.outcome = type(error).__name__
        if self.log.isEnabledFor(logging.INFO):
            # Made by hand: `log.info` would look for the caller, and who that is, is known.
            record = logging.LogRecord(
                self.log.name, logging.INFO, "", 0, self.operation, None, None
            )
            record.__dict__.update(self.fields())
            self.log.handle(record)


_current: ContextVar[Observation | None] = ContextVar("observation", default=None)
_nothing = logging.getLogger("muster.nothing")


def current() -> Observation:
    """The observation of the work at hand; one that nobody looks at where there is none."""
    return _current.get() or Observation(_nothing, "")


def charge(_what: str, request_units: float) -> None:
    """Count what the store charged for a call."""
    current().request_units += request_units
