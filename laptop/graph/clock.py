"""The time in this box."""

import time


class Clock:
    """Seconds. `forward` passes some of them at once, for tests."""

    def __init__(self, *, speed: float = 1.0) -> None:
        self._speed = speed
        self._ahead = 0.0

    def now(self) -> float:
        """Seconds since some moment."""
        return time.monotonic() * self._speed + self._ahead

    def forward(self, seconds: float) -> None:
        """Let some pass."""
        self._ahead += seconds
