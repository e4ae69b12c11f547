"""A server in a process of its own, and a large study for it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from dashboards.live.server import make_dashboard_server, running
from tests.dashboards.live.serving import NAME, TOKEN, Served, started
from tests.synthetic import Plan, add_study, new_engine


@pytest.fixture(scope="session")
def large_url(tmp_path_factory: pytest.TempPathFactory) -> str:
    path = tmp_path_factory.mktemp("served") / "evolve.db"
    engine = new_engine(path)
    add_study(engine, Plan(name=NAME, num_trials=6))
    engine.dispose()
    return f"sqlite:///{path}"


@pytest.fixture(scope="session")
def served(large_url: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with started(large_url, tmp_path_factory.mktemp("log")) as found:
        for _ in range(3):
            found.seconds_of_a_reader()
        yield found


@pytest.fixture(scope="session")
def with_token(large_url: str) -> Iterator[int]:
    """Port of a server that asks for a token."""
    with running(make_dashboard_server(large_url, host="127.0.0.1", port=0, token=TOKEN)) as server:
        yield server.port
