"""Serving the live pages from one process: a loop that reads and writes, and threads that answer."""

from __future__ import annotations

import gc
import logging
import secrets
import signal
import socket
import sys
import threading
import time
import webbrowser
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any
from urllib.parse import quote

from waitress import wasyncore
from waitress.channel import HTTPChannel
from waitress.server import create_server

from dashboards.data.reader import UnavailableError
from dashboards.live.app import make_app
from dashboards.live.connections import MAX_BODY, MAX_HEADER, THREADS, GatedParser, close_overdue, most_connections
from dashboards.live.delivery import pack_plotly
from dashboards.live.security import FIELD, Access, ExposureError, may_send_body
from dashboards.state import PageState, to_address
from evolve.errors import EvolveError

CHECK_SECONDS = 0.2  # between two checks for connections that take too long
START = PageState()


class DashboardError(EvolveError):
    """The dashboard cannot be started; the text says why."""


class DashboardServer:
    """A server that listens already; `run` answers until another thread, or a signal's handler, calls `stop`.

    Args:
        application: WSGI application that makes the responses.
        listener: Socket that is bound and listens.
        access: Who may read.
    """

    def __init__(self, application: Any, listener: socket.socket, access: Access) -> None:
        # A line for each request that waits is noise; errors are still logged.
        logging.getLogger("waitress").setLevel(logging.ERROR)
        self.port = int(listener.getsockname()[1])
        self._access = access
        self._most = most_connections()
        self._is_stopped = False
        self._waitress = create_server(
            application,
            sockets=[listener],
            server_name=access.host,
            ident="evolve",
            threads=THREADS,
            max_request_header_size=MAX_HEADER,
            max_request_body_size=MAX_BODY + 1,
            inbuf_overflow=2 * MAX_BODY,  # no file for what is that small
            connection_limit=self._most + 100,  # we close those that wait before it refuses those that come
            channel_timeout=10**6,  # ours are shorter, and count what a timeout between bytes does not
            asyncore_use_poll=True,  # select cannot watch files beyond 1,024
            log_socket_errors=False,
        )
        self._waitress.channel_class = partial(_open_channel, may_send_body(access))

    @property
    def host(self) -> str:
        """Name by which a browser on this machine finds the server."""
        return {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(self._access.host, self._access.host)  # noqa: S104

    def address(self, page: PageState = START) -> str:
        """Where a browser on this machine finds a page, with the token if there is one."""
        name = f"[{self.host}]" if ":" in self.host else self.host
        token = self._access.token
        place = f"http://{name}:{self.port}{to_address(page)}"
        return f"{place}{'&' if '?' in place else '?'}{FIELD}={quote(token, safe='')}" if token else place

    def run(self) -> None:
        """Answers until it is stopped."""
        checked = 0.0
        channels = self._waitress.active_channels
        while not self._is_stopped:
            wasyncore.loop(timeout=CHECK_SECONDS, use_poll=True, map=self._waitress._map, count=1)
            now = time.time()
            if len(channels) > self._most or not 0 <= now - checked < CHECK_SECONDS:
                checked = now
                close_overdue(list(channels.values()), now, self._most)

    def stop(self) -> None:
        """Ends `run` soon."""
        if not self._is_stopped:
            self._is_stopped = True
            self._waitress.pull_trigger()

    def close(self) -> None:
        """Closes all connections and ends the threads; what they work on is waited for a second."""
        self._is_stopped = True
        self._waitress.task_dispatcher.shutdown(timeout=1)
        wasyncore.close_all(self._waitress._map)


def make_dashboard_server(storage: str, *, host: str, port: int, token: str) -> DashboardServer:
    """A server that is bound to its port and not yet serving.

    Args:
        storage: SQLAlchemy URL of any database.
        host: Address to listen on.
        port: Port to listen on; 0 takes a free one.
        token: What readers must know; may be empty where only this machine reaches the server.

    Raises:
        DashboardError: The database or the port cannot be used, or others could read without a token.
    """
    try:
        access = Access(host=host, token=token)
        app = make_app(storage, access)
        return DashboardServer(app.server, _listener(host, port), access)
    except ExposureError as error:
        example = f"EVOLVE_TOKEN={secrets.token_urlsafe(16)} evolve dashboard --host {host}"
        raise DashboardError(f"{error}; for example {example}") from None
    except UnavailableError as error:
        raise DashboardError(str(error)) from None
    except (OSError, OverflowError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise DashboardError(f"{host}:{port}: cannot listen there: {reason}; choose another --port") from None


@contextmanager
def running(server: DashboardServer) -> Iterator[DashboardServer]:
    """The server, answering from a thread of its own until the end of the block."""
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.stop()
        thread.join(timeout=20)
        server.close()


def serve(
    storage: str,
    *,
    host: str,
    port: int,
    token: str,
    page: PageState,
    opens_browser: bool,
    announce: Callable[[str], None],
) -> None:
    """Serves until interrupted, as the last thing that a process does: Ctrl-C means nothing else from then on.

    Args:
        storage, host, port, token: Passed on to `make_dashboard_server`.
        page: Which page is announced and opened.
        opens_browser: Whether a browser is opened where a person sits at the terminal.
        announce: Called with the page's address as soon as pages can be requested.

    Raises:
        DashboardError: The database or the port cannot be used, or others could read without a token.
    """
    server = make_dashboard_server(storage, host=host, port=port, token=token)
    # What is loaded by now stays; without this the collector looks through all of it whenever many rows are read.
    gc.collect()
    gc.freeze()
    address = server.address(page)
    # An exception could be raised where it is swallowed, or while the server is being closed.
    signal.signal(signal.SIGINT, lambda *_: server.stop())
    announce(address)
    threading.Thread(target=pack_plotly, daemon=True).start()
    if opens_browser and sys.stdout.isatty():
        opening = threading.Timer(0.5, webbrowser.open, [address])
        opening.daemon = True
        opening.start()
    try:
        server.run()
    finally:
        # Python gives a function's signal back to the system as it ends, and a second Ctrl-C would kill it then.
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        server.close()


def _listener(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    has_both = host == "::" and socket.has_dualstack_ipv6()
    return socket.create_server((host, port), family=family, dualstack_ipv6=has_both)


def _open_channel(may_send: Callable[[Any], bool], *arguments: Any, map: Any) -> HTTPChannel:
    channel = HTTPChannel(*arguments, map=map)
    channel.parser_class = partial(GatedParser, may_send_body=may_send)
    return channel
