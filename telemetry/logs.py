"""How log records are written: as JSON lines on Azure, readable on a laptop.

The text of an exception may hold a person's data (a value that could not be read, a document's
content), so no formatter here writes it: an exception is shown by its type and the places that it
passed.
"""

import copy
import logging
import os
import time
import traceback
from functools import lru_cache
from typing import Any, Literal

type Format = Literal["json", "text"]

_FIELDS = (
    "operation",
    "outcome",
    "milliseconds",
    "tenant",
    "request",
    "event",
    "network",
    "requestUnits",
    "oldest_pending_seconds",
    "applied_by_timer",
    "webhooks_disabled",
    "mass_losses",
)
"""What `telemetry.observation` adds to a record."""
_FRAMES = 12


def place(error: BaseException) -> str:
    """Where an exception came from, innermost first, without its text."""
    frames = traceback.extract_tb(error.__traceback__)
    places = " < ".join(f"{f.name} ({f.filename}:{f.lineno})" for f in reversed(frames[-_FRAMES:]))
    return f"{type(error).__name__} in {places}"


def chosen_format() -> Format:
    """MUSTER_LOG_FORMAT (`json` or `text`); where it says nothing, JSON on Azure."""
    on_azure = "WEBSITE_SITE_NAME" in os.environ
    asked = os.environ.get("MUSTER_LOG_FORMAT") or ("json" if on_azure else "text")
    return "json" if asked.lower() == "json" else "text"


def configure() -> None:
    """Have every handler of the root logger write in the chosen format. The Functions worker
    brings handlers of its own; they hand what they format to the host."""
    # What no line here shows is not looked up for each record (thread, process, task).
    logging.logThreads = logging.logProcesses = False
    logging.logMultiprocessing = False
    logging.logAsyncioTasks = False  # type: ignore[attr-defined] # typeshed does not know it
    root = logging.getLogger()
    formatter = json_lines() if chosen_format() == "json" else Readable()
    for handler in root.handlers:
        handler.setFormatter(formatter)
    logging.getLogger("asyncio").addFilter(_first_line)
    for chatty in ("azure", "uvicorn.error"):
        logging.getLogger(chatty).setLevel(logging.WARNING)


class Readable(logging.Formatter):
    """One line for a person at a terminal."""

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802 (logging's name)
        """The line, with what was observed at its end."""
        told = record.__dict__
        fields = [f" {name}={told[name]}" for name in _FIELDS[1:] if name in told]
        clock, level = _clock(int(record.created)), record.levelname
        return f"{clock}  {level:<7}  {record.name:<18}  {record.message}{''.join(fields)}"

    def format(self, record: logging.LogRecord) -> str:
        """An exception as its place."""
        if not record.exc_info and not record.stack_info:
            record.message = record.getMessage()
            return self.formatMessage(record)
        return super().format(_untold(record))

    def formatException(self, ei: Any) -> str:  # noqa: N802 (logging's name)
        """The place alone."""
        return place(ei[1])


@lru_cache(maxsize=1)
def _clock(seconds: int) -> str:
    return time.strftime("%H:%M:%S", time.localtime(seconds))


def json_lines() -> logging.Formatter:
    """One JSON object per line, with the fields of the record's `extra`."""
    from pythonjsonlogger.orjson import OrjsonFormatter  # on a laptop nobody needs it

    class Json(OrjsonFormatter):
        def format(self, record: logging.LogRecord) -> str:
            return super().format(_untold(record))

        def formatException(self, ei: Any) -> str:  # noqa: N802 (logging's name)
            return place(ei[1])

    return Json(
        "%(levelname)s %(name)s %(message)s",
        rename_fields={"levelname": "level", "name": "logger"},
        timestamp="time",
    )


def _untold(record: logging.LogRecord) -> logging.LogRecord:
    """The record without the text that another formatter made of its exception."""
    if record.exc_text is None:
        return record
    record = copy.copy(record)
    record.exc_text = None
    return record


def _first_line(record: logging.LogRecord) -> bool:
    """Of what asyncio says about a task that failed unheard: below its first line it shows the
    task, exception's text and all."""
    if isinstance(record.msg, str):
        record.msg = record.msg.partition("\n")[0]
    return True
