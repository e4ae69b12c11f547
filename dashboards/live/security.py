"""Who may read: requests for this machine only, with a token where one is set, and headers that keep pages ours."""

from __future__ import annotations

import hmac
import ipaddress
import socket
from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote_plus, urlsplit

from flask import Flask, Response, redirect, request
from werkzeug.wrappers import Request

COOKIE = "evolve_token"
FIELD = "token"  # of an address
LEAST_TOKEN = 12  # characters
LOOPBACK = ("127.0.0.1", "localhost", "::1")


class ExposureError(ValueError):
    """The pages would be open to people who should not see them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Access:
    """Who may read.

    Attributes:
        host: Address the server listens on.
        token: What readers must know; empty for a server that only this machine reaches.

    Raises:
        ExposureError: Others reach the server and there is no token, or one that can be guessed.
    """

    host: str = "127.0.0.1"
    token: str = ""

    def __post_init__(self) -> None:
        if self.host not in LOOPBACK and not self.token:
            raise ExposureError(f"--host {self.host} opens the dashboard to other machines; it needs a token (--token)")
        if self.token and (len(self.token) < LEAST_TOKEN or not self.token.isascii() or not self.token.isprintable()):
            raise ExposureError(f"a token of {len(self.token)} characters; it needs {LEAST_TOKEN} or more plain ones")

    @property
    def names(self) -> frozenset[str]:
        """Host names by which the server may be asked for; addresses in numbers are always allowed.

        A page elsewhere can make its own name point here, and would then read everything. Numbers it cannot own.
        """
        own = {self.host.lower(), *LOOPBACK}
        return frozenset(
            own if self.host in LOOPBACK else own | {socket.gethostname().lower(), socket.getfqdn().lower()}
        )


def protect(server: Flask, access: Access, script_hashes: Callable[[], Collection[str]]) -> None:
    """Checks every request and sets the headers of every response.

    Args:
        server: Flask application to protect.
        access: Who may read.
        script_hashes: Quoted hashes of the scripts that stand in the page itself.
    """
    names = access.names

    @server.before_request
    def _check() -> Any:
        if refused := refusal_of(request, names):
            return _refuse(*refused)
        if not access.token:
            return None
        if request.method == "GET" and _same(request.args.get(FIELD, ""), access.token):
            return _let_in(access.token)
        if knows_token(request, access.token):
            return None
        return _refuse(401, "this dashboard needs its token: open the address that `evolve dashboard` printed")

    @server.after_request
    def _harden(response: Response) -> Response:
        for name, value in headers(script_hashes()).items():
            response.headers[name] = value
        return response


def refusal_of(asked: Request, names: Collection[str]) -> tuple[int, str] | None:
    """Status and reason for which a request is none of ours, read from what stands before its body; None if it is."""
    if not is_known_host(asked.host, names):
        return 421, f"host {asked.host!r} is not this dashboard's; allowed: {sorted(names)}"
    if asked.method not in ("GET", "HEAD", "POST"):
        return 405, f"method {asked.method} is not allowed"
    if asked.method == "POST" and not is_own_page(asked):
        return 403, "this was asked for by a page of another site"
    return None


def knows_token(asked: Request, token: str) -> bool:
    """Whether a request brings the token in its cookie; every request does where there is no token."""
    return not token or _same(asked.cookies.get(COOKIE, ""), token)


def may_send_body(access: Access) -> Callable[[Request], bool]:
    """A function that tells from what stands before a body whether the body will be read."""
    names = access.names
    return lambda asked: (
        asked.method == "POST" and refusal_of(asked, names) is None and knows_token(asked, access.token)
    )


def is_known_host(host: str, names: Collection[str]) -> bool:
    """Whether a Host header, port included, is a number or one of the names."""
    try:
        name = (urlsplit(f"//{host}").hostname or "").lower()
    except ValueError:  # half a pair of brackets
        return False
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return name in names
    return True


def is_own_page(asked: Request) -> bool:
    """Whether the browser says that a page of this server asked; other programs say nothing and may."""
    site = asked.headers.get("Sec-Fetch-Site")
    origin = asked.headers.get("Origin")
    return site in (None, "same-origin") and (origin is None or origin.partition("://")[2] == asked.host)


def headers(script_hashes: Collection[str]) -> dict[str, str]:
    """Headers of every response: nothing from elsewhere, nothing inside the pages of others."""
    policy = {
        "default-src": "'none'",
        "script-src": " ".join(["'self'", *script_hashes]),
        "style-src": "'self' 'unsafe-inline'",  # Plotly and the tables write styles into the page
        "img-src": "'self' data: blob:",
        "font-src": "'self' data:",
        "connect-src": "'self'",
        "base-uri": "'none'",
        "form-action": "'none'",
        "frame-ancestors": "'none'",
    }
    return {
        "Content-Security-Policy": "; ".join(f"{name} {value}" for name, value in policy.items()),
        "X-Content-Type-Options": "nosniff",
        "X-Frame-Options": "DENY",
        "Referrer-Policy": "no-referrer",
        "Cross-Origin-Opener-Policy": "same-origin",
        "Cross-Origin-Resource-Policy": "same-origin",
        "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
    }


def _let_in(token: str) -> Any:
    # Out of the address at once, so that it is not shared with a link. A name may be written in percent signs.
    parts = request.query_string.decode().split("&")
    rest = "&".join(part for part in parts if unquote_plus(part.partition("=")[0]) != FIELD)
    response = redirect("/" + request.path.lstrip("/\\") + (f"?{rest}" if rest else ""))
    response.set_cookie(COOKIE, token, httponly=True, samesite="Strict", path="/")
    return response


def _same(given: str, token: str) -> bool:
    return hmac.compare_digest(given.encode(errors="replace"), token.encode())


def _refuse(status: int, reason: str) -> Response:
    return Response(f"{reason}\n", status=status, mimetype="text/plain")
