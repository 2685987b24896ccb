"""The settings in host.json that the laptop's host uses."""

import json
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Self


@dataclass(frozen=True)
class HostFile:
    """The settings of the triggers, with the defaults of the Functions host
    (https://learn.microsoft.com/azure/azure-functions/functions-host-json)."""

    route_prefix: str = "api"
    max_concurrent_calls: int = 16
    max_auto_lock_renewal: float = 300.0
    """How long (seconds) a running invocation keeps its message locked."""

    @classmethod
    def read(cls, path: Path) -> Self:
        """Raises OSError, and ValueError for invalid JSON or an invalid time span."""
        extensions = json.loads(path.read_bytes()).get("extensions", {})
        service_bus = extensions.get("serviceBus", {})
        return cls(
            extensions.get("http", {}).get("routePrefix", cls.route_prefix),
            service_bus.get("maxConcurrentCalls", cls.max_concurrent_calls),
            _seconds(service_bus.get("maxAutoLockRenewalDuration", "00:05:00")),
        )


def _seconds(time_span: str) -> float:
    hours, minutes, seconds = (int(part) for part in time_span.split(":"))
    return timedelta(hours=hours, minutes=minutes, seconds=seconds).total_seconds()
