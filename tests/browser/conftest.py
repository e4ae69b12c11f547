"""A served dashboard and a browser page that remembers every complaint."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest

from dashboards.live.server import make_dashboard_server, running
from evolve.storage.sqlite import tune
from tests.browser.large import large_study
from tests.synthetic import Plan, add_study, new_engine

NAME = "digits-lr"
PICTURE = ".js-plotly-plot .main-svg"
FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    # A browser that is watched looks up the place of each error that a library throws and catches for itself, and
    # reads Plotly's five megabytes again for it: 0.5 s that no reader waits for. With places kept there is no reading.
    "--js-flags=--no-enable-lazy-source-positions",
]


@contextmanager
def served(storage: str) -> Iterator[str]:
    """Address of a dashboard over a database, without the slash at its end."""
    with running(make_dashboard_server(storage, host="127.0.0.1", port=0, token="")) as server:
        yield server.address().rstrip("/")


@pytest.fixture(scope="session")
def browser() -> Iterator[Any]:
    playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed: pip install '.[dev]'")
    chromium = shutil.which("chromium")
    if chromium is None:
        pytest.skip("Debian's chromium is not installed: make test-browser installs it")
    with playwright.sync_playwright() as started:
        opened = started.chromium.launch(executable_path=chromium, args=FLAGS)
        yield opened
        opened.close()


@pytest.fixture
def serve() -> Iterator[Callable[[str], str]]:
    """A function that serves a database to the end of the test and returns its address."""
    with ExitStack() as servers:
        yield lambda storage: servers.enter_context(served(storage))


@pytest.fixture
def open_page(browser: Any, serve: Callable[[str], str]) -> Iterator[Callable[..., Any]]:
    """A function that opens a page; at the end of the test, no page may have complained.

    It stands on `serve` so that pages close before what serves them: they ask every two seconds.
    """
    contexts, complaints = [], []

    def opened(**options: Any) -> Any:
        context = browser.new_context(**({"viewport": {"width": 1240, "height": 900}} | options))
        context.set_default_timeout(60_000)
        contexts.append(context)
        page = context.new_page()
        page.on("console", lambda said: complaints.append(said.text) if said.type in ("error", "warning") else None)
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.on("response", lambda got: complaints.append(f"{got.status} {got.url}") if got.status >= 400 else None)
        return page

    yield opened
    for context in contexts:
        context.close()
    assert complaints == []


@pytest.fixture(scope="session")
def small(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("small") / "evolve.db"
    engine = new_engine(path)
    tune(engine)
    add_study(engine, Plan(num_trials=40, seeds=(0, 1, 2)))
    add_study(engine, Plan(name="other", num_trials=12, seed=3))
    engine.dispose()
    return path


@pytest.fixture(scope="session")
def small_address(small: Path) -> Iterator[str]:
    with served(f"sqlite:///{small}") as address:
        yield address


@pytest.fixture(scope="session")
def large_address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with served(large_study(tmp_path_factory.mktemp("large") / "large.db")) as address:
        yield address
