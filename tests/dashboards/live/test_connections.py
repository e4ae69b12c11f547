"""What one connection may take of the server."""

from __future__ import annotations

import http.client
import socket
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from types import SimpleNamespace
from typing import Any

import pytest

from dashboards.live.connections import (
    IDLE_SECONDS,
    MAX_BODY,
    MAX_HEADER,
    MAX_UNREAD,
    REQUEST_SECONDS,
    STALLED_SECONDS,
    close_overdue,
)
from tests.dashboards.live.serving import CALLBACK, Served, answer_to, send_all

MOST_MORE = 100.0  # MB above what an idle server takes
MOST_SECONDS = 2.0


@contextmanager
def a_reader_meanwhile(served: Served) -> Iterator[None]:
    """Checks at the end of the block that a reader is answered soon, at little memory and without a traceback."""
    before = served.megabytes("VmRSS")
    yield
    seconds = max(served.seconds_of_a_reader() for _ in range(3))
    assert seconds < MOST_SECONDS
    assert served.megabytes("VmHWM") - before < MOST_MORE
    assert "Traceback" not in served.log.read_text()


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
