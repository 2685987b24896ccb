"""scim2-server as it is measured: its ASGI application on its in-memory storage, both as its
documentation shows, behind uvicorn in one process. It runs in `bench.peer`'s environment.

(Its command `scim2-server` serves the same with Python's reference server, which closes every
connection after one answer; that would measure the opening of connections.)
"""

import sys

import uvicorn
from scim2_server.applications.asgi import ASGIApplication
from scim2_server.memory import AsyncInMemoryStorage
from scim2_server.utils import load_default_provider


def main(port: int) -> None:
    """Serve on loopback until the process is ended."""
    application = ASGIApplication(AsyncInMemoryStorage(), load_default_provider())
    uvicorn.run(application, host="127.0.0.1", port=port, log_level="warning")


if __name__ == "__main__":
    main(int(sys.argv[1]))
