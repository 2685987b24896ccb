"""The timer trigger of the Functions host."""

import asyncio
import logging
import re
import time

from laptop.devhost.runtime import Function, FunctionApp, IndexingFailed, InvocationFailed

log = logging.getLogger(__name__)

_EVERY = re.compile(r"(?:\*/(?P<seconds>[1-9]\d?)|0 \*/(?P<minutes>[1-9]\d?))(?: \*)+")


class Timer:
    """Runs one timer-triggered function: once at the start, because work left over from a crash
    should not wait, and then on its schedule."""

    def __init__(self, app: FunctionApp, function: Function) -> None:
        self._app = app
        self._function = function
        self._period = period(function)

    async def run(self, stop: asyncio.Event) -> None:
        """Run until `stop` is set; a run that has begun is finished first."""
        while not stop.is_set():
            try:
                await self._app.invoke_timer(self._function)
            except InvocationFailed as failure:
                log.error("%s\n%s", failure, failure.stack_trace)
            try:
                async with asyncio.timeout(self._period - time.time() % self._period):
                    await stop.wait()
            except TimeoutError:
                continue


def period(function: Function) -> float:
    """Seconds between the runs of a function whose schedule (NCRONTAB, six fields) is `*/N` in
    the seconds, or in the minutes after a 0. Raises IndexingFailed for any other schedule."""
    schedule = function.trigger["schedule"]
    every = _EVERY.fullmatch(schedule)
    if every and len(schedule.split()) == 6:
        step = int(every["seconds"] or every["minutes"])
        if 60 % step == 0:
            return float(step if every["seconds"] else step * 60)
    raise IndexingFailed(
        f"{function.name}: devhost runs schedules like '*/30 * * * * *' or '0 */5 * * * *' (an "
        f"even part of a minute or an hour), not '{schedule}'."
    )
