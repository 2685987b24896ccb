"""The clock of the simulated Graph."""

import time


class Clock:
    """A clock in seconds, `speed` times as fast as real time."""

    def __init__(self, *, speed: float = 1.0) -> None:
        self._speed = speed

    def now(self) -> float:
        """Seconds since an arbitrary moment."""
        return time.monotonic() * self._speed
