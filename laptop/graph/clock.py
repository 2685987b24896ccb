"""The clock of the simulated Graph."""

import time


class Clock:
    """A clock in seconds, `speed` times as fast as real time. Tests move it with `forward`."""

    def __init__(self, *, speed: float = 1.0) -> None:
        self._speed = speed
        self._ahead = 0.0

    def now(self) -> float:
        """Seconds since an arbitrary moment."""
        return time.monotonic() * self._speed + self._ahead

    def forward(self, seconds: float) -> None:
        """Move the clock forward."""
        self._ahead += seconds
