"""Serving the live pages from one process of many threads."""

from __future__ import annotations

import gc
import logging
import secrets
import sys
import webbrowser
from collections.abc import Callable
from threading import Thread, Timer
from urllib.parse import quote

from werkzeug.serving import BaseWSGIServer, make_server

from dashboards.app import make_app
from dashboards.delivery import pack_plotly
from dashboards.reading import UnavailableError
from dashboards.security import Access, ExposureError
from evolve.errors import EvolveError


class DashboardError(EvolveError):
    """The dashboard cannot be started; the text says why."""


def make_dashboard_server(storage: str, *, host: str, port: int, token: str) -> BaseWSGIServer:
    """A server that is bound to its port and not yet serving.

    Args:
        storage: Any SQLAlchemy URL.
        host: Address to listen on.
        port: 0 takes a free one.
        token: What readers must know; empty on this machine alone.

    Raises:
        DashboardError: The database or the port cannot be used, or others could read without a token.
    """
    try:
        app = make_app(storage, Access(host=host, token=token))
        return make_server(host, port, app.server, threaded=True)
    except ExposureError as error:
        raise DashboardError(f"{error}; for example --token {secrets.token_urlsafe(16)}") from None
    except UnavailableError as error:
        raise DashboardError(str(error)) from None
    except (OSError, SystemExit) as error:
        reason = error.strerror if isinstance(error, OSError) else "the port is taken"
        raise DashboardError(f"{host}:{port}: cannot listen there: {reason}; choose another --port") from None


def address_of(server: BaseWSGIServer, token: str) -> str:
    """Where a browser on this machine finds the server."""
    host = "127.0.0.1" if server.host in ("0.0.0.0", "::") else server.host  # noqa: S104
    name = f"[{host}]" if ":" in host else host
    return f"http://{name}:{server.server_port}/" + (f"?token={quote(token, safe='')}" if token else "")


def serve(
    storage: str, *, host: str, port: int, token: str, opens_browser: bool, announce: Callable[[str], None]
) -> None:
    """Serves until interrupted.

    Args:
        storage, host, port, token: As above.
        opens_browser: Whether a browser is opened where a person sits at the terminal.
        announce: Is told the address as soon as pages can be asked for.

    Raises:
        DashboardError: As above.
    """
    # One line a request is noise; errors are still told.
    logging.getLogger("werkzeug").setLevel(logging.WARNING)
    server = make_dashboard_server(storage, host=host, port=port, token=token)
    # What is loaded by now stays; without this the collector looks through all of it whenever many rows are read.
    gc.collect()
    gc.freeze()
    try:
        address = address_of(server, token)
        announce(address)
        Thread(target=pack_plotly, daemon=True).start()
        if opens_browser and sys.stdout.isatty():
            Timer(0.5, webbrowser.open, [address]).start()
        server.serve_forever()
    except KeyboardInterrupt:
        pass  # whoever has read the address may press Ctrl-C at once
    finally:
        server.server_close()
