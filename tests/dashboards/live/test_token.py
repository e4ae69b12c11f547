"""The token that a server for others asks for."""

from __future__ import annotations

import socket

import pytest
from werkzeug.wrappers import Request

from dashboards.live.app import make_app
from dashboards.live.security import Access, may_send_body
from dashboards.live.server import make_dashboard_server
from dashboards.state import PageState
from tests.dashboards.live.serving import CALLBACK, TOKEN, answer_to


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
def test_the_token_leaves_the_address_however_its_name_is_written(large_url: str, name: str) -> None:
    client = make_app(large_url, Access(token=TOKEN)).server.test_client()
    value = TOKEN.replace(" ", "%20")

    entered = client.get(f"/study?{name}={value}&study=large&text=a%26token%3Db&{name}={value}")

    assert entered.status_code == 302
    assert entered.headers["Location"] == "/study?study=large&text=a%26token%3Db"
    assert client.get("/").status_code == 200


def test_an_address_has_the_page_and_the_token(large_url: str) -> None:
    server = make_dashboard_server(large_url, host="127.0.0.1", port=0, token=TOKEN)
    server.close()

    page = PageState(page="/study", study="a b")
    assert server.address(page) == f"http://127.0.0.1:{server.port}/study?study=a+b&token=correct%20horse%20battery"
    assert server.address() == f"http://127.0.0.1:{server.port}/?token=correct%20horse%20battery"
