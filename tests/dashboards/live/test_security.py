"""Who may ask, and what is answered to others."""

from __future__ import annotations

from typing import Any

import pytest

from dashboards.live.app import make_app
from dashboards.live.security import Access, ExposureError, is_known_host
from dashboards.live.server import DashboardError, make_dashboard_server
from tests.dashboards.examples import TOKEN


def test_answers_carry_headers_that_keep_others_out(client: Any) -> None:
    headers = client.get("/").headers

    policy = headers["Content-Security-Policy"]
    assert "default-src 'none'" in policy
    assert "frame-ancestors 'none'" in policy
    assert "unsafe-eval" not in policy
    assert "script-src 'self' 'sha256-" in policy
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert headers["Referrer-Policy"] == "no-referrer"


@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("127.0.0.1:8050", 200),
        ("localhost", 200),
        ("[::1]:8050", 200),
        ("evil.example", 421),
        ("localhost.evil.example", 421),
        ("127.0.0.1.evil.example", 421),
        ("evil.example@127.0.0.1", 421),
    ],
)
def test_a_name_that_is_not_ours_is_refused(client: Any, host: str, status: int) -> None:
    found = client.get("/", headers={"Host": host}).status_code

    assert found == status or (status == 421 and found == 400)


@pytest.mark.parametrize(
    "path",
    [
        "/assets/../app.py",
        "/assets/..%2fapp.py",
        "/assets/report.js%00",
        "/data/study/..%2f..%2fetc/0.csv",
        "/data/study/history/../../../etc/passwd",
        "/_dash-component-suites/dash/../../../../etc/passwd",
        "/_dash-component-suites/dashboards/app.py",
    ],
)
def test_no_file_outside_is_served(client: Any, path: str) -> None:
    answer = client.get(path)

    # Paths that are no file are the page itself, which then says that there is no such page.
    assert answer.status_code in (400, 404, 500) or "react-entry-point" in answer.text
    assert "root:" not in answer.text
    assert "import annotations" not in answer.text


def test_a_page_of_another_site_cannot_ask(client: Any) -> None:
    foreign = {"Sec-Fetch-Site": "cross-site", "Origin": "https://evil.example"}

    assert client.post("/_dash-update-component", json={}, headers=foreign).status_code == 403
    assert client.delete("/").status_code == 405


def test_a_server_for_others_needs_a_token_and_then_asks_for_it(url: str) -> None:
    with pytest.raises(ExposureError, match="--token"):
        Access(host="0.0.0.0")
    with pytest.raises(ExposureError, match="12"):
        Access(host="0.0.0.0", token="short")
    client = make_app(url, Access(host="0.0.0.0", token=TOKEN)).server.test_client()

    assert client.get("/").status_code == 401
    assert client.get(f"/?token={TOKEN}x").status_code == 401
    assert client.get("/data/study/history/0.csv?study=digits-lr").status_code == 401
    entered = client.get(f"/study?study=digits-lr&token={TOKEN}")
    assert entered.status_code == 302
    assert TOKEN not in entered.headers["Location"]
    assert "HttpOnly" in entered.headers["Set-Cookie"]
    assert "SameSite=Strict" in entered.headers["Set-Cookie"]
    assert client.get("/").status_code == 200


def test_numbers_are_hosts_and_names_are_not() -> None:
    assert is_known_host("192.168.1.7:8050", {"localhost"})
    assert is_known_host("[fe80::1]", {"localhost"})
    assert not is_known_host("rebound.example:8050", {"localhost"})
    assert not is_known_host("", {"localhost"})


def test_the_server_listens_on_a_free_port_and_tells_its_address(url: str) -> None:
    server = make_dashboard_server(url, host="127.0.0.1", port=0, token="")
    try:
        assert server.address() == f"http://127.0.0.1:{server.port}/"
        with pytest.raises(DashboardError, match="another --port"):
            make_dashboard_server(url, host="127.0.0.1", port=server.port, token="")
    finally:
        server.close()
    with pytest.raises(DashboardError, match="EVOLVE_TOKEN="):
        make_dashboard_server(url, host="0.0.0.0", port=0, token="")
