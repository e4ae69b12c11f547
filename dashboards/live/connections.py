"""What one connection may take of the server: bytes, seconds, and a body only where it will be read.

A thread works for a request that is here as a whole; until then a connection costs a socket and what it has sent.
"""

from __future__ import annotations

import resource
import time
from collections.abc import Callable, Iterable
from typing import Any

from waitress.channel import HTTPChannel
from waitress.parser import HTTPRequestParser
from werkzeug.wrappers import Request

THREADS = 16  # a browser sends six requests at once
MAX_HEADER = 64 * 2**10  # bytes; an address of 16,000 characters and the cookies of other programs on this machine
MAX_BODY = 512 * 2**10  # bytes; a callback with 20,000 scattered trials selected sends some 320 kB
MAX_CONNECTIONS = 512
MAX_UNREAD = 32 * 2**20  # bytes of requests that have begun and are not here as a whole, of all connections
REQUEST_SECONDS = 10.0  # from the first byte, or the connection, to the end of a request
STALLED_SECONDS = 30.0  # without a byte of the response being taken
IDLE_SECONDS = 75.0  # between requests; pages in the background ask once a minute


def most_connections() -> int:
    """How many connections are held: each may need two of the files that this process may open."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return MAX_CONNECTIONS if soft == resource.RLIM_INFINITY else min(MAX_CONNECTIONS, soft // 2)


class GatedParser(HTTPRequestParser):  # type: ignore[misc]  # it declares no types
    """Waitress' parser with the one query it has no setting for: whether a body is waited for.

    Args:
        adjustments: Settings of Waitress.
        may_send_body: Function that tells from what stands before a body whether it will be read.
    """

    body_rcv: Any

    def __init__(self, adjustments: Any, may_send_body: Callable[[Request], bool]) -> None:
        super().__init__(adjustments)
        self.started = time.time()
        self._may_send_body = may_send_body

    def parse_header(self, header_plus: bytes) -> None:
        """Reads what stands before a body; one that nobody will read is left in the line, which closes then.

        Raises:
            ParsingError: What stands there is no valid header.
        """
        super().parse_header(header_plus)
        if self.body_rcv is None or self._may_send_body(Request(self._environ(), populate_request=False)):
            return
        self.body_rcv, self.content_length, self.chunked = None, 0, False
        self.expect_continue = False
        self.headers.pop("CONTENT_LENGTH", None)
        self.headers["CONNECTION"] = "close"

    def _environ(self) -> dict[str, str]:
        own = {"REQUEST_METHOD": self.command, "PATH_INFO": self.path, "QUERY_STRING": self.query}
        fixed = {"wsgi.url_scheme": "http", "SERVER_NAME": "", "SERVER_PORT": ""}
        return {f"HTTP_{name}": value for name, value in self.headers.items()} | own | fixed


def close_overdue(channels: Iterable[HTTPChannel], now: float, most: int) -> None:
    """Closes connections that take too long, and those that have waited longest where there are too many.

    Nothing is closed for which a thread works, unless its response is not taken.

    Args:
        channels: Every connection that is open.
        now: Present time in seconds, of the clock by which they were opened.
        most: Number of connections that may stay.
    """
    num_open, waiting = 0, []
    for channel in channels:
        since, limit = _wait_of(channel)
        if now - since > limit:
            channel.will_close = True
            continue
        num_open += 1
        if not channel.requests:
            waiting.append((since, channel))
    num_bytes = sum(_unread_bytes(channel) for _, channel in waiting)
    for _, channel in sorted(waiting, key=lambda pair: pair[0]):
        if num_open <= most and num_bytes <= MAX_UNREAD:
            break
        held = _unread_bytes(channel)
        if num_open > most or held:
            channel.will_close = True
            num_open, num_bytes = num_open - 1, num_bytes - held


def _wait_of(channel: HTTPChannel) -> tuple[float, float]:
    """Since when a connection waits for the other side, and how many seconds it may."""
    if channel.total_outbufs_len:
        return channel.last_activity, STALLED_SECONDS
    if channel.requests:
        return channel.last_activity, float("inf")
    request = channel.request
    if request is not None:
        return request.started, REQUEST_SECONDS
    is_new = channel.last_activity == channel.creation_time
    return channel.last_activity, REQUEST_SECONDS if is_new else IDLE_SECONDS


def _unread_bytes(channel: HTTPChannel) -> int:
    request = channel.request
    return 0 if request is None else request.header_bytes_received + request.body_bytes_received
