"""Facts about one piece of work (a request, a message, a timer's run), collected while it runs and
written as one log record at its end.

Code that learns a fact sets it on `current()`: the tenant once it is authenticated, the charge of
the store. Tasks that a piece of work starts share its observation.
"""

import logging
import time
from contextvars import ContextVar, Token
from dataclasses import dataclass, field
from typing import Self


@dataclass(slots=True)
class Observation:
    """One piece of work, as a context manager that logs it at its end, also after an exception.

    `operation` names the work without a client's values: a method and a route, or a trigger's name.
    Empty texts are not known (yet).
    """

    log: logging.Logger
    operation: str
    request_id: str = ""
    tenant_id: str = ""
    event_id: str = ""
    network: str = ""
    """Where a request came from, see `telemetry.network`."""
    outcome: str = ""
    """A status code, or the outcome of a message."""
    request_units: float = 0.0
    """Request units that Cosmos DB charged; 0 for SQLite."""
    measures: dict[str, float] = field(default_factory=dict)
    """Figures about this work; alerts query them by name."""
    started: float = field(default_factory=time.perf_counter)
    _token: "Token[Observation | None] | None" = None

    def fields(self) -> dict[str, str | float]:
        """The fields of the log record or span; unknown ones are left out."""
        fields: dict[str, str | float] = {"operation": self.operation}
        if self.outcome:
            fields["outcome"] = self.outcome
        fields["milliseconds"] = round((time.perf_counter() - self.started) * 1000, 1)
        if self.tenant_id:
            fields["tenant"] = self.tenant_id
        if self.request_id:
            fields["request"] = self.request_id
        if self.event_id:
            fields["event"] = self.event_id
        if self.network:
            fields["network"] = self.network
        if self.request_units:
            fields["requestUnits"] = round(self.request_units, 2)
        return fields | self.measures

    def __enter__(self) -> Self:
        self._token = _current.set(self)
        return self

    def __exit__(self, _: object, error: BaseException | None, __: object) -> None:
        if self._token is not None:
            _current.reset(self._token)
        if error is not None:
            self.outcome = type(error).__name__
        if self.log.isEnabledFor(logging.INFO):
            # Built directly, because `log.info` would search the stack for the caller.
            record = logging.LogRecord(
                self.log.name, logging.INFO, "", 0, self.operation, None, None
            )
            record.__dict__.update(self.fields())
            self.log.handle(record)


_current: ContextVar[Observation | None] = ContextVar("observation", default=None)
_nothing = logging.getLogger("muster.nothing")


def current() -> Observation:
    """The observation of the current work; outside of any, one that is never logged."""
    return _current.get() or Observation(_nothing, "")


def charge(_what: str, request_units: float) -> None:
    """Add the request units of a call to the current observation."""
    current().request_units += request_units
