"""Formatting log records: as JSON lines on Azure, as readable lines on a laptop.

The text of an exception may hold personal data (a value that could not be read, a document's
content), so no formatter here writes it: an exception is shown by its type and its stack frames.
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
"""The fields that `telemetry.observation` adds to a record."""
_FRAMES = 12


def place(error: BaseException) -> str:
    """The type and the stack frames of an exception, innermost first, without its text."""
    frames = traceback.extract_tb(error.__traceback__)
    shown = " < ".join(f"{f.name} ({f.filename}:{f.lineno})" for f in reversed(frames[-_FRAMES:]))
    return f"{type(error).__name__} in {shown}"


def chosen_format() -> Format:
    """MUSTER_LOG_FORMAT (`json` or `text`); where it is not set, JSON on Azure."""
    on_azure = "WEBSITE_SITE_NAME" in os.environ
    chosen = os.environ.get("MUSTER_LOG_FORMAT") or ("json" if on_azure else "text")
    return "json" if chosen.lower() == "json" else "text"


def configure() -> None:
    """Have every handler of the root logger write in the chosen format. This includes the handlers
    of the Functions worker, which send their lines to the host."""
    # No format shows thread, process or task, so they need not be looked up for each record.
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
        """The line, with the fields of the observation at its end."""
        known = record.__dict__
        fields = [f" {name}={known[name]}" for name in _FIELDS[1:] if name in known]
        clock, level = _clock(int(record.created)), record.levelname
        return f"{clock}  {level:<7}  {record.name:<18}  {record.message}{''.join(fields)}"

    def format(self, record: logging.LogRecord) -> str:
        """The record, with an exception shown by `place`."""
        if not record.exc_info and not record.stack_info:
            record.message = record.getMessage()
            return self.formatMessage(record)
        return super().format(_without_text(record))

    def formatException(self, ei: Any) -> str:  # noqa: N802 (logging's name)
        """Only the type and the stack frames."""
        return place(ei[1])


@lru_cache(maxsize=1)
def _clock(seconds: int) -> str:
    return time.strftime("%H:%M:%S", time.localtime(seconds))


def json_lines() -> logging.Formatter:
    """One JSON object per line, with the fields of the record's `extra`."""
    from pythonjsonlogger.orjson import OrjsonFormatter  # not needed on a laptop

    class Json(OrjsonFormatter):
        def format(self, record: logging.LogRecord) -> str:
            return super().format(_without_text(record))

        def formatException(self, ei: Any) -> str:  # noqa: N802 (logging's name)
            return place(ei[1])

    return Json(
        "%(levelname)s %(name)s %(message)s",
        rename_fields={"levelname": "level", "name": "logger"},
        timestamp="time",
    )


def _without_text(record: logging.LogRecord) -> logging.LogRecord:
    """The record without the exception's text that another formatter may have cached in it."""
    if record.exc_text is None:
        return record
    record = copy.copy(record)
    record.exc_text = None
    return record


def _first_line(record: logging.LogRecord) -> bool:
    """Cut a message of asyncio to its first line: about a task whose exception was never retrieved,
    the further lines show the exception's text."""
    if isinstance(record.msg, str):
        record.msg = record.msg.partition("\n")[0]
    return True
