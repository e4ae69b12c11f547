"""The dashboard's server under requests that no reader sends: what they cost, and that readers are answered."""

from __future__ import annotations

import http.client
import json
import random
import resource
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from werkzeug.wrappers import Request

from benchmarks.dashboard import Caller
from dashboards.live.app import make_app
from dashboards.live.connections import (
    IDLE_SECONDS,
    MAX_BODY,
    MAX_HEADER,
    MAX_UNREAD,
    REQUEST_SECONDS,
    STALLED_SECONDS,
    close_overdue,
)
from dashboards.live.security import Access, may_send_body
from dashboards.live.server import make_dashboard_server, running
from dashboards.state import MAX_SELECTED, PageState
from tests.processes import environment
from tests.synthetic import Plan, add_study, new_engine

NAME = "large"  # as the benchmark's caller names it
TOKEN = "correct horse battery"
CALLBACK = b"POST /_dash-update-component HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n"
MEMORY = 6 * 2**30  # bytes that a server may ask for before it ends, and with it the test, not the machine
MOST_MORE = 100.0  # MB above what an idle server takes
MOST_SECONDS = 2.0


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> str:
    path = tmp_path_factory.mktemp("served") / "evolve.db"
    engine = new_engine(path)
    add_study(engine, Plan(name=NAME, num_trials=6))
    engine.dispose()
    return f"sqlite:///{path}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Served:
    """A dashboard in a process of its own."""

    process: subprocess.Popen[str]
    port: int
    log: Path

    def connect(self) -> socket.socket:
        return socket.create_connection(("127.0.0.1", self.port), timeout=20)

    def megabytes(self, what: str) -> float:
        """What the kernel says of its memory: VmRSS now, VmHWM the most there ever was."""
        lines = Path(f"/proc/{self.process.pid}/status").read_text().splitlines()
        return next(int(line.split()[1]) for line in lines if line.startswith(what)) / 1024

    def seconds_of_a_reader(self) -> float:
        started = time.perf_counter()
        with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/", timeout=20) as answer:
            answer.read()
        return time.perf_counter() - started


@contextmanager
def started(url: str, folder: Path, **settings: str) -> Iterator[Served]:
    log = folder / "log"
    with (
        log.open("w") as errors,
        subprocess.Popen(
            [sys.executable, "-m", "evolve.cli", "dashboard", "--port", "0", "--no-browser", "--storage", url],
            cwd=folder,
            env=environment() | settings,
            stdout=subprocess.PIPE,
            stderr=errors,
            text=True,
            preexec_fn=_as_a_person_starts_it,
        ) as process,
    ):
        try:
            assert process.stdout is not None
            first = process.stdout.readline()
            assert first.startswith("dashboard  http://127.0.0.1:"), log.read_text()
            yield Served(process=process, port=int(first.split(":")[2].split("/")[0]), log=log)
        finally:
            process.kill()


def _as_a_person_starts_it() -> None:
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))


@pytest.fixture(scope="module")
def served(url: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with started(url, tmp_path_factory.mktemp("log")) as found:
        for _ in range(3):
            found.seconds_of_a_reader()
        yield found


@contextmanager
def a_reader_meanwhile(served: Served) -> Iterator[None]:
    """Checks at the end of the block that a reader is answered soon, at little memory and without a traceback."""
    before = served.megabytes("VmRSS")
    yield
    seconds = max(served.seconds_of_a_reader() for _ in range(3))
    assert seconds < MOST_SECONDS
    assert served.megabytes("VmHWM") - before < MOST_MORE
    assert "Traceback" not in served.log.read_text()


def answer_to(connection: socket.socket) -> bytes:
    """All that the other side says until it closes."""
    parts = []
    try:
        while part := connection.recv(2**16):
            parts.append(part)
    except ConnectionError:
        pass  # closed while we were still sending
    return b"".join(parts)


def send_all(connection: socket.socket, part: bytes, times: int) -> None:
    """Sends a part again and again, or until the other side has had enough."""
    try:
        for _ in range(times):
            connection.sendall(part)
    except ConnectionError:
        pass


# Bytes and seconds


def test_a_chunk_that_says_it_is_huge_takes_no_memory(served: Served) -> None:
    with served.connect() as attack, a_reader_meanwhile(served):
        attack.sendall(CALLBACK + b"Transfer-Encoding: chunked\r\n\r\nffffffffff\r\nx")
        attack.shutdown(socket.SHUT_WR)  # to the development server, all that is missing came as zeros then
        time.sleep(0.5)


@pytest.mark.parametrize(
    ("framing", "part"),
    [
        (b"Content-Length: 200000000\r\n\r\n", b"x" * 10**6),
        (b"Transfer-Encoding: chunked\r\n\r\n", b"f4240\r\n" + b"x" * 10**6 + b"\r\n"),
    ],
    ids=["told", "chunked"],
)
def test_a_body_beyond_what_callbacks_need_is_not_read(served: Served, framing: bytes, part: bytes) -> None:
    with served.connect() as attack, a_reader_meanwhile(served):
        attack.sendall(CALLBACK + framing)
        send_all(attack, part, 200)


def test_a_body_that_says_it_is_too_large_is_told_so(served: Served) -> None:
    with served.connect() as asking:
        asking.sendall(CALLBACK + b"Content-Length: %d\r\n\r\n" % (MAX_BODY + 1))

        assert answer_to(asking).startswith(b"HTTP/1.1 413 ")


def test_headers_without_an_end_are_refused(served: Served) -> None:
    with served.connect() as attack, a_reader_meanwhile(served):
        send_all(attack, CALLBACK + b"X: " + b"x" * MAX_HEADER, 1)

        assert answer_to(attack).startswith(b"HTTP/1.0 431 ")


@pytest.mark.parametrize(
    "sent",
    [b"", CALLBACK, CALLBACK + b"Content-Length: 400000\r\n\r\n" + b"[" * 300_000],
    ids=["nothing", "half a header", "half a body"],
)
def test_readers_are_answered_beside_300_requests_that_are_sent_by_half(served: Served, sent: bytes) -> None:
    with ExitStack() as connections, a_reader_meanwhile(served):
        for _ in range(300):
            attack = connections.enter_context(served.connect())
            send_all(attack, sent, 1)


def test_readers_are_answered_beside_more_connections_than_are_held(served: Served) -> None:
    with ExitStack() as connections, a_reader_meanwhile(served):
        for _ in range(700):
            connections.enter_context(served.connect())


def test_a_request_has_ten_seconds_however_it_trickles_in() -> None:
    def channel(since: float, **settings: Any) -> Any:
        plain = {"creation_time": since, "last_activity": since, "total_outbufs_len": 0, "request": None}
        return SimpleNamespace(will_close=False, **(plain | {"requests": []} | settings))

    def request(since: float, num_bytes: int = 0) -> Any:
        return SimpleNamespace(started=since, header_bytes_received=0, body_bytes_received=num_bytes)

    now = 1000.0
    late, soon = now - REQUEST_SECONDS - 1, now - REQUEST_SECONDS + 1
    closed = [
        channel(late),
        channel(0.0, last_activity=now, request=request(late)),
        channel(0.0, last_activity=now - IDLE_SECONDS - 1),
        channel(0.0, last_activity=now - STALLED_SECONDS - 1, total_outbufs_len=9, requests=["answered"]),
    ]
    kept = [
        channel(soon),
        channel(0.0, last_activity=now, request=request(soon)),
        channel(0.0, last_activity=now - IDLE_SECONDS + 1),
        channel(0.0, last_activity=now - STALLED_SECONDS + 1, total_outbufs_len=9, requests=["answered"]),
        channel(0.0, last_activity=1.0, requests=["a thread works"]),
    ]

    close_overdue([*closed, *kept], now, most=9)

    assert [each.will_close for each in (*closed, *kept)] == [True] * 4 + [False] * 5
    crowd = [channel(now - age) for age in (1.0, 3.0, 2.0)]
    close_overdue(crowd, now, most=2)
    assert [each.will_close for each in crowd] == [False, True, False]
    heavy = [channel(now, request=request(now - age, MAX_UNREAD // 2)) for age in (1.0, 3.0, 2.0)]
    close_overdue([channel(now - 9.0), *heavy], now, most=9)
    assert [each.will_close for each in heavy] == [False, True, False]


def test_a_connection_serves_one_request_after_the_other(served: Served) -> None:
    kept = http.client.HTTPConnection("127.0.0.1", served.port, timeout=20)
    kept.connect()
    before = kept.sock
    for _ in range(3):
        kept.request("GET", "/assets/theme.js")
        with kept.getresponse() as answer:
            assert answer.status == 200 and len(answer.read()) > 100

    assert kept.sock is before
    kept.close()


# The token


@pytest.fixture(scope="module")
def with_token(url: str) -> Iterator[int]:
    """Port of a server that asks for a token."""
    with running(make_dashboard_server(url, host="127.0.0.1", port=0, token=TOKEN)) as server:
        yield server.port


@pytest.mark.parametrize("expects", [b"", b"Expect: 100-continue\r\n"], ids=["", "asking first"])
def test_a_body_is_not_waited_for_without_the_token(with_token: int, expects: bytes) -> None:
    with socket.create_connection(("127.0.0.1", with_token), timeout=5) as asking:
        asking.sendall(CALLBACK + expects + b"Content-Length: 400000\r\n\r\n")

        assert answer_to(asking).startswith(b"HTTP/1.1 401 ")


def test_what_follows_a_body_that_is_not_read_is_no_request(with_token: int) -> None:
    inner = b"GET /?token=" + TOKEN.replace(" ", "+").encode() + b" HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n"
    with socket.create_connection(("127.0.0.1", with_token), timeout=5) as asking:
        asking.sendall(CALLBACK + b"Content-Length: %d\r\n\r\n" % len(inner) + inner)

        assert answer_to(asking).count(b"HTTP/1.1 ") == 1


def test_a_body_is_read_of_those_who_may_send_it() -> None:
    def asked(method: str = "POST", **settings: str) -> Request:
        plain = {"HTTP_HOST": "127.0.0.1:8050", "HTTP_COOKIE": f'evolve_token="{TOKEN}"'}
        return Request({"REQUEST_METHOD": method, "wsgi.url_scheme": "http"} | plain | settings)

    may = may_send_body(Access(token=TOKEN))

    assert may(asked())
    assert not may(asked("GET"))
    assert not may(asked(HTTP_COOKIE="evolve_token=another-one-of-ours"))
    assert not may(asked(HTTP_HOST="evil.example"))
    assert not may(asked(HTTP_HOST="[127.0.0.1"))
    assert not may(asked(HTTP_ORIGIN="https://evil.example"))
    assert may_send_body(Access())(asked(HTTP_COOKIE=""))


@pytest.mark.parametrize("name", ["token", "to%6ben", "%74%6f%6b%65%6e", "to%6Ben"])
def test_the_token_leaves_the_address_however_its_name_is_written(url: str, name: str) -> None:
    client = make_app(url, Access(token=TOKEN)).server.test_client()
    value = TOKEN.replace(" ", "%20")

    entered = client.get(f"/study?{name}={value}&study=large&text=a%26token%3Db&{name}={value}")

    assert entered.status_code == 302
    assert entered.headers["Location"] == "/study?study=large&text=a%26token%3Db"
    assert client.get("/").status_code == 200


def test_an_address_has_the_page_and_the_token(url: str) -> None:
    server = make_dashboard_server(url, host="127.0.0.1", port=0, token=TOKEN)
    server.close()

    page = PageState(page="/study", study="a b")
    assert server.address(page) == f"http://127.0.0.1:{server.port}/study?study=a+b&token=correct%20horse%20battery"
    assert server.address() == f"http://127.0.0.1:{server.port}/?token=correct%20horse%20battery"


# What callbacks are asked


def bodies(url: str) -> list[dict[str, Any]]:
    """What pages ask of each callback that the server answers, with values as they are."""
    values: dict[str, Any] = {
        "address.pathname": "/study",
        "address.search": f"?study={NAME}",
        "returned.data": [],
        "clock.n_intervals": 1,
        "query.data": f"/study?study={NAME}",
        "selection.data": "1-3",
        "view.data": {"zooms": [["history-0", "xaxis", 0, 9.5]], "sorts": [["t-0", 1, True]], "hidden": [["a", "b"]]},
        "device.data": {"dark": False, "touch": False},
        "panel.data-asked": "now",
        "panel.id": {"type": "panel", "key": "trials", "lines": "no"},
        "grid.getRowsRequest": {"startRow": 0, "endRow": 9, "sortModel": [{"colId": "c1", "sort": "desc"}]},
        "grid.id": {"type": "grid", "panel": "trials", "index": 0},
        "filter.value": ["converged"],
        "note-save.n_clicks": 1,
        "note-text.value": "",
    }
    own: dict[str, Any] = {kind: values[f"{kind}.id"] for kind in ("panel", "grid")}
    own |= {"filter": {"type": "filter", "key": "verdicts"}, "message": {"type": "message", "key": "filters"}}

    def part(identity: str, what: str) -> Any:
        if not identity.startswith("{"):
            return {"id": identity, "property": what, "value": values.get(f"{identity}.{what}")}
        pattern = json.loads(identity)
        kind = pattern["type"]
        found = {"id": own.get(kind), "property": what, "value": values.get(f"{kind}.{what}")}
        return found if ["MATCH"] in pattern.values() else [found] if kind in own else []

    found = []
    for output, callback in make_app(url).callback_map.items():
        if "callback" not in callback:
            continue
        wanted = callback["output"] if isinstance(callback["output"], list) else [callback["output"]]
        outputs = [part(each.component_id_str(), each.component_property) for each in wanted]
        inputs, state = (
            [part(each["id"], each["property"]) for each in callback[kind]] for kind in ("inputs", "state")
        )
        first = inputs[0] if isinstance(inputs[0], dict) else inputs[3]
        name = first["id"] if isinstance(first["id"], str) else json.dumps(first["id"], separators=(",", ":"))
        found.append(
            {
                "output": output,
                "outputs": outputs if isinstance(callback["output"], list) else outputs[0],
                "inputs": inputs,
                "state": state,
                "changedPropIds": [f"{name}.{first['property']}"],
            }
        )
    return found


def ask(client: Any, body: Any) -> Any:
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    return client.post("/_dash-update-component", data=data, content_type="application/json")


def test_every_callback_answers_what_pages_ask(url: str) -> None:
    client = make_app(url).server.test_client()
    asked = bodies(url)

    assert len(asked) == 6
    for body in asked:
        answer = ask(client, body)
        assert answer.status_code in (200, 204), (body["output"], answer.text)


def test_the_largest_selection_fits_into_a_body(url: str) -> None:
    scattered = ",".join(str(10**6 + 2 * each) for each in range(MAX_SELECTED))
    (body,) = (each for each in bodies(url) if "data-drawn" in each["output"])
    body["inputs"][0]["value"] = json.dumps([f"/study?study={NAME}", "version", {}, scattered])
    for part in body["state"]:
        part["value"] = scattered if part["id"] == "selection" else part["value"]

    assert len(json.dumps(body)) < MAX_BODY
    assert ask(make_app(url).server.test_client(), body).status_code == 200


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"not json",
        b"\xff\xfe",
        b"[" * 200_000,
        b'{"output":' * 50_000,
        b"1" * 100_000,
        b"[]",
        b"null",
        b"{}",
        b'{"output": 5}',
        b'{"output": "nothing.children"}',
        b'{"output": "device.data", "inputs": [{"id": "page", "property": "id"}]}',
    ],
    ids=range(12),
)
def test_junk_is_answered_400_in_words(url: str, body: bytes) -> None:
    answer = ask(make_app(url).server.test_client(), body)

    assert answer.status_code == 400
    assert answer.text.startswith("callback: ")


JUNK: tuple[Any, ...] = (
    None,
    5,
    -1,
    10**400,
    1e308,
    float("nan"),
    True,
    "",
    "x",
    "\ud800",
    "/study?selected=9-1",
    [],
    [5],
    [[]],
    [None],
    {},
    {"zooms": 5},
    {"zooms": [[1]]},
    {"type": "panel"},
    {"startRow": "x"},
    {"sortModel": [{"colId": "x"}]},
)


def places(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Where in what is asked something stands."""
    yield path
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, each in items:
        yield from places(each, (*path, key))


def with_junk(value: Any, path: tuple[Any, ...], junk: Any) -> Any:
    if not path:
        return junk
    changed = dict(value) if isinstance(value, dict) else list(value)
    changed[path[0]] = with_junk(value[path[0]], path[1:], junk)
    return changed


def test_no_wrong_value_anywhere_reaches_a_callback_as_a_fault(url: str, caplog: pytest.LogCaptureFixture) -> None:
    client = make_app(url).server.test_client()
    random_junk = random.Random(0)
    statuses: dict[int, int] = {}
    for body in bodies(url):
        for path in places(body):
            for junk in random_junk.sample(JUNK, 4):
                answer = ask(client, with_junk(body, path, junk))
                statuses[answer.status_code] = statuses.get(answer.status_code, 0) + 1
                assert answer.status_code in (200, 204, 400), (body["output"], path, junk)

    assert statuses[400] > 100
    assert "Traceback" not in caplog.text


def test_hosts_and_origins_that_are_none_are_refused(url: str) -> None:
    client = make_app(url).server.test_client()
    for host in ("[", "[::1", "]", "127.0.0.1:x", "a b", ""):
        assert client.get("/", headers={"Host": host}).status_code in (200, 400, 421)
    for origin in ("http://[", "null", "", "http://"):
        headers = {"Origin": origin}
        assert client.post("/_dash-update-component", json={}, headers=headers).status_code == 403


# The command


def test_a_page_is_answered_by_a_process_of_its_own(served: Served) -> None:
    caller = Caller(f"http://127.0.0.1:{served.port}")

    assert caller.page() > 1000 and caller.panels(("summary", "history", "trials")) > 1000


@pytest.mark.parametrize("seconds", [0.0, 0.02, 0.3])
def test_ctrl_c_ends_it_with_status_0_at_any_moment(url: str, tmp_path: Path, seconds: float) -> None:
    with started(url, tmp_path, EVOLVE_TOKEN="") as found, ExitStack() as connections:
        for _ in range(5):
            connections.enter_context(found.connect()).sendall(CALLBACK)
        time.sleep(seconds)
        for _ in range(3):
            found.process.send_signal(signal.SIGINT)

        assert found.process.wait(timeout=20) == 0
        assert found.log.read_text() == ""
