"""`python -m laptop.devhost`: all of Muster on a laptop, on one SQLite file.

    HOST, PORT     where to listen (127.0.0.1, 7071)
    MUSTER_DATA    the folder that holds all state (.muster)
    FUNCTIONS_WORKER_PROCESS_COUNT
                   how many processes answer requests (2, or 1 on one core)

Ctrl+C stops it in order: current requests and messages are finished. A second one stops it at once.
"""

import logging
import os
import sys
from functools import partial

from laptop.devhost.processes import Processes, Role
from laptop.devhost.roles import Wakeup, answer, greet, log_to_terminal, work_on_messages
from laptop.devhost.server import listen, url_of

COUNT_SETTING = "FUNCTIONS_WORKER_PROCESS_COUNT"
PROCESSES = range(1, 11)
"""As many as the Functions host takes."""

log = logging.getLogger("devhost")


def main() -> int:
    """The command; returns its exit code."""
    log_to_terminal()
    host, port = os.environ.get("HOST", "127.0.0.1"), os.environ.get("PORT", "7071")
    count = os.environ.get(COUNT_SETTING) or str(min(2, os.process_cpu_count() or 1))
    if not (count.isdecimal() and int(count) in PROCESSES):
        log.error("%s is %r, not a number from 1 to 10.", COUNT_SETTING, count)
        return 1
    try:
        listener = listen(host, int(port))
    except (OSError, ValueError, OverflowError) as error:
        log.error("Cannot listen on %s port %s: %s. Set HOST or PORT.", host, port, error)
        return 1
    sent = Wakeup()
    answering = Role("answers requests", partial(answer, sent=sent), serves=True)
    with listener:
        return Processes(listener).run(
            (
                Role("works on messages", partial(work_on_messages, sent=sent)),
                *[answering] * int(count),
                Role("welcomes", partial(greet, url=url_of(listener)), ends=True),
            )
        )


if __name__ == "__main__":
    sys.exit(main())
