"""`python -m laptop.devhost` as a person runs it: a process, real HTTP, its queue and its timer."""

import json
import os
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from http.client import HTTPConnection
from pathlib import Path
from select import select
from threading import Event
from typing import Any

import httpx
import pytest

from laptop.bench.process import started_by
from laptop.devhost.roles import NICENESS
from tests.hosting import ROOT, running_host, start

USER = "urn:ietf:params:scim:schemas:core:2.0:User"
GROUP = "urn:ietf:params:scim:schemas:core:2.0:Group"
ERROR = "urn:ietf:params:scim:api:messages:2.0:Error"


@dataclass
class Running:
    """A host, and clients with the demo tenant's tokens."""

    process: subprocess.Popen[str]
    url: str
    scim: httpx.Client
    access: httpx.Client

    def stop(self, number: int) -> None:
        """Send this signal; the host ends in order."""
        self.process.send_signal(number)
        assert self.process.wait(30) == 0


@contextmanager
def running(data: Path) -> Iterator[Running]:
    """A host that listens."""
    with running_host(data) as host:
        demo = json.loads((data / "demo.json").read_text())
        with (
            client(f"{host.url}/scim/v2", demo["scim_token"]) as scim,
            client(f"{host.url}/access/v1", demo["access_token"]) as access,
        ):
            yield Running(host.process, host.url, scim, access)


def client(base_url: str, token: str) -> httpx.Client:
    return httpx.Client(base_url=base_url, headers={"authorization": f"Bearer {token}"}, timeout=30)


@pytest.fixture(scope="module")
def host(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    with running(tmp_path_factory.mktemp("devhost") / "data") as host:
        yield host


def refused(data: Path, **settings: str) -> str:
    """The log of a host that does not come to listen."""
    process, log = start(data, **settings)
    with process:
        assert process.wait(30) == 1
    return log.read_text()


def user(name: str) -> dict[str, Any]:
    return {
        "schemas": [USER],
        "userName": f"{name}@contoso.example",
        "name": {"givenName": name, "familyName": "Contoso"},
        "emails": [{"type": "work", "value": f"{name}@contoso.example"}],
        "active": True,
    }


def wait_for_changes(access: httpx.Client, sent: Event) -> httpx.Response:
    """Read the feed from its end, as long as may be; `sent` is set once the request is."""
    position = access.get("/users", params={"limit": 1}).json()["feedPosition"]

    def trace(step: str, _: dict[str, Any]) -> None:
        if step.endswith("send_request_body.complete"):
            sent.set()

    asked = {"after": position, "wait": 20}
    return access.get("/changes", params=asked, extensions={"trace": trace})


def eventually(ask: Callable[[], dict[str, Any]], holds: Callable[[dict[str, Any]], bool]) -> None:
    """Ask until it holds; what is reconciled from the queue needs its moment."""
    deadline = time.monotonic() + 30
    while not holds(answer := ask()):
        assert time.monotonic() < deadline, answer
        time.sleep(0.02)


def test_a_user_and_a_group_become_access(host: Running) -> None:
    created = host.scim.post("/Users", json=user("ada"))
    assert created.status_code == 201
    id = created.json()["id"]
    assert created.json()["meta"]["location"] == str(host.scim.base_url.join(f"Users/{id}"))

    def access() -> dict[str, Any]:
        answer = host.access.get(f"/users/{id}")
        assert answer.status_code == 200
        found: dict[str, Any] = answer.json()
        return found

    eventually(access, lambda found: found["reasons"] == ["noGroup"] and not found["enabled"])
    group = {"schemas": [GROUP], "displayName": "Everybody", "members": [{"value": id}]}
    assert host.scim.post("/Groups", json=group).status_code == 201
    eventually(access, lambda found: found["enabled"] and found["reasons"] == [])


@pytest.mark.parametrize("base", ["scim", "scim/v2"])
def test_queries_arrive_as_they_were_sent(host: Running, base: str) -> None:
    name = f"o'hara+{base.replace('/', '-')}"
    assert host.scim.post("/Users", json=user(name)).status_code == 201
    url = f"{host.url}/{base}/Users"
    for query in (
        f'filter=userName+eq+"{name.replace("+", "%2B")}@contoso.example"',
        f"filter=userName%20eq%20%22{name.replace('+', '%2B')}%40contoso.example%22",
    ):
        found = host.scim.get(f"{url}?{query}").json()
        assert found["totalResults"] == 1


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH"])
def test_a_body_in_chunks_without_length_is_a_scim_400(host: Running, method: str) -> None:
    url = "/Users" if method == "POST" else "/Users/x"
    answer = host.scim.request(method, url, content=iter([b"{}"]))
    assert answer.status_code == 400
    assert answer.json()["schemas"] == [ERROR]
    assert "Content-Length" in answer.json()["detail"]


def test_an_unknown_method_is_the_apps_405_and_an_unknown_route_the_hosts_404(
    host: Running,
) -> None:
    refused = host.scim.delete("/Users")
    assert refused.status_code == 405
    assert refused.json()["schemas"] == [ERROR]
    missing = host.scim.get(f"{host.url}/elsewhere")
    assert (missing.status_code, missing.content) == (404, b"")


def test_a_head_request_is_answered_without_a_body(host: Running) -> None:
    answer = host.scim.head("/ServiceProviderConfig")
    assert (answer.status_code, answer.content) == (200, b"")


def test_a_path_that_is_not_utf8_is_a_scim_400(host: Running) -> None:
    answer = host.scim.get("/Users/%ff")
    assert answer.status_code == 400
    assert answer.json()["scimType"] == "invalidSyntax"


def test_it_stops_in_order_and_finds_its_state_again(tmp_path: Path) -> None:
    with running(tmp_path / "data") as first:
        id = first.scim.post("/Users", json=user("grace")).json()["id"]
        first.stop(signal.SIGTERM)
    with running(tmp_path / "data") as second:
        assert second.scim.get(f"/Users/{id}").status_code == 200
        eventually(
            lambda: second.access.get(f"/users/{id}").json(),
            lambda found: found["reasons"] == ["noGroup"],
        )
        with ThreadPoolExecutor() as readers:
            waiting = readers.submit(wait_for_changes, second.access, sent := Event())
            assert sent.wait(10)
            second.scim.get("/ServiceProviderConfig")  # what was sent before is in hand by now
            second.stop(signal.SIGINT)
            assert waiting.result().json()["changes"] == []
    log = (tmp_path / "data.log").read_text()
    assert "Traceback" not in log
    assert "ERROR" not in log


def test_a_process_that_dies_is_replaced_and_none_outlives_the_first(tmp_path: Path) -> None:
    with running(tmp_path / "data") as host:
        first = working(host)
        for number, dying in enumerate(first):
            os.kill(dying, signal.SIGKILL)
            becomes_access(host, f"user{number}")
        replaced = working(host)
        assert not {*first} & {*replaced}
        host.process.kill()
        host.process.wait()
    eventually(lambda: alive(replaced), lambda alive: alive == {})
    log = (tmp_path / "data.log").read_text()
    assert log.count("The process that answers requests ended (-9); it is started again") == 2
    assert log.count("The process that works on messages ended (-9); it is started again") == 1


def test_answers_come_before_what_follows_from_them(tmp_path: Path) -> None:
    """Where processors are short: what works on messages is started first, and has less of them."""
    with running(tmp_path / "data") as host:
        priorities = [os.getpriority(os.PRIO_PROCESS, each) for each in working(host)]
        ours = os.getpriority(os.PRIO_PROCESS, 0)
        assert [each - ours for each in priorities] == [NICENESS, 0, 0]


def test_no_process_outlives_the_first_that_had_not_heard_all(tmp_path: Path) -> None:
    """A socket whose other end was closed with something unread reports an error, not its end."""
    with running(tmp_path / "data") as host, ExitStack() as stack:
        processes = working(host)
        eventually(lambda: kept(host), lambda kept: kept == {})
        for each in processes:
            os.kill(each, signal.SIGSTOP)
        connections = [HTTPConnection(*address(host), timeout=20) for _ in processes]
        for connection in connections:
            stack.callback(connection.close)
            connection.request("GET", "/health")
        eventually(lambda: kept(host), lambda kept: len(kept) == len(connections))
        host.process.send_signal(signal.SIGSTOP)
        for each in processes:
            os.kill(each, signal.SIGCONT)
        assert [each.getresponse().status for each in connections] == [200] * len(connections)
        host.process.kill()
        host.process.wait()
    eventually(lambda: alive(processes), lambda alive: alive == {})


def test_a_connection_that_a_process_did_not_take_is_served_by_another(tmp_path: Path) -> None:
    with running(tmp_path / "data") as host, ExitStack() as stack:
        _, dying, _ = working(host)
        os.kill(dying, signal.SIGSTOP)
        connections = [HTTPConnection(*address(host), timeout=20) for _ in range(4)]
        for connection in connections:
            stack.callback(connection.close)
            connection.request("GET", "/health")
        served, _, _ = select([each.sock for each in connections], [], [], 20)
        assert 0 < len(served) < 4
        os.kill(dying, signal.SIGKILL)
        assert [each.getresponse().status for each in connections] == [200] * 4


def becomes_access(host: Running, name: str) -> None:
    """A user who is created over a new connection gets a record of access."""
    with again(host.scim) as scim, again(host.access) as access:
        id = scim.post("/Users", json=user(name)).json()["id"]
        eventually(
            lambda: access.get(f"/users/{id}").json(),
            lambda found: found["reasons"] == ["noGroup"],
        )


def again(client: httpx.Client) -> httpx.Client:
    """The same client with new connections."""
    return httpx.Client(base_url=client.base_url, headers=client.headers, timeout=client.timeout)


def test_connections_are_handed_to_the_processes_in_turn(tmp_path: Path) -> None:
    with running(tmp_path / "data") as host, ExitStack() as stack:
        host.scim.get("/ServiceProviderConfig")
        sockets = []
        for _ in range(6):
            connection = HTTPConnection(*address(host))
            stack.callback(connection.close)
            connection.request("GET", "/health")
            assert connection.getresponse().read()
            sockets.append(connection.sock)
        _, dying, _ = working(host)
        os.kill(dying, signal.SIGKILL)
        eventually(lambda: cut(sockets), lambda found: len(found) == 3)


def cut(sockets: list[socket.socket]) -> dict[str, int]:
    """Those whose other side has closed, by their numbers."""
    readable, _, _ = select(sockets, [], [], 0)
    return {str(each): each.fileno() for each in readable}


def children(host: Running) -> list[int]:
    """The process ids of the others, in the order of their start."""
    return sorted(started_by(host.process.pid))


def working(host: Running) -> list[int]:
    """The same, once the one that prints what to do has ended."""
    eventually(lambda: {"processes": len(children(host))}, lambda now: now["processes"] == 3)
    return children(host)


def kept(host: Running) -> dict[str, str]:
    """The connections of the first process, which it keeps until another one has taken them."""
    rows = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    listens = "0A"
    connections = {f"socket:[{row[9]}]" for row in rows if row[3] != listens}
    found = {}
    for each in Path(f"/proc/{host.process.pid}/fd").iterdir():
        with suppress(OSError):  # closed meanwhile
            found[each.name] = str(each.readlink())
    return {name: link for name, link in found.items() if link in connections}


def alive(processes: list[int]) -> dict[str, int]:
    """Which of these there are."""
    return {str(id): id for id in processes if Path(f"/proc/{id}").exists()}


def test_a_second_signal_ends_what_would_wait(tmp_path: Path) -> None:
    with running(tmp_path / "data") as host, socket.create_connection(address(host)) as slow:
        slow.sendall(b"POST /scim/Users HTTP/1.1\r\nhost: x\r\ncontent-length: 9\r\n\r\n")
        host.scim.get("/ServiceProviderConfig")
        processes = children(host)
        host.process.send_signal(signal.SIGINT)
        eventually(lambda: {"alive": len(children(host))}, lambda now: now["alive"] < 3)
        assert host.process.poll() is None
        host.process.send_signal(signal.SIGINT)
        assert host.process.wait(5) == 128 + signal.SIGINT
    eventually(lambda: alive(processes), lambda alive: alive == {})


def address(host: Running) -> tuple[str, int]:
    """Host and port."""
    url = httpx.URL(host.url)
    assert url.port
    return url.host, url.port


def test_a_signal_while_it_starts_is_heeded(tmp_path: Path) -> None:
    process, log = start(tmp_path / "data")
    with process:
        eventually(
            lambda: {"started": started_by(process.pid)}, lambda processes: processes["started"]
        )
        process.send_signal(signal.SIGTERM)
        assert process.wait(20) == 0
    assert "Traceback" not in log.read_text()


@pytest.mark.parametrize("count", ["0", "eleven", "11"])
def test_a_number_of_processes_that_cannot_be_is_said_in_one_line(
    tmp_path: Path, count: str
) -> None:
    log = refused(tmp_path / "data", FUNCTIONS_WORKER_PROCESS_COUNT=count)
    assert f"FUNCTIONS_WORKER_PROCESS_COUNT is '{count}', not a number from 1 to 10" in log
    assert "Traceback" not in log


def test_a_port_in_use_is_said_in_one_line(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        log = refused(tmp_path / "data", PORT=port)
    assert f"port {port}" in log
    assert "Traceback" not in log


def test_functions_that_cannot_be_indexed_are_said_without_our_own_stack(tmp_path: Path) -> None:
    log = refused(tmp_path / "data", PYTHON_SCRIPT_FILE_NAME="elsewhere.py")
    assert "The functions could not be loaded" in log
    assert "Traceback" not in log


def test_the_settings_that_core_tools_need_are_there() -> None:
    example = json.loads((ROOT / "local.settings.example.json").read_text())["Values"]
    assert example["FUNCTIONS_WORKER_RUNTIME"] == "python"
    assert "UseDevelopmentEmulator=true" in example["ServiceBusConnection"]
    host = json.loads((ROOT / "host.json").read_text())
    assert host["extensions"]["http"]["routePrefix"] == ""
    assert host["extensionBundle"]["version"] == "[4.*, 5.0.0)"
