"""Databases that the tests of pages share, which none of them changes."""

from __future__ import annotations

from typing import Any

import pytest

from dashboards.data.reader import Reader
from dashboards.data.study_loading import load
from dashboards.live.app import make_app
from tests.dashboards.examples import HOSTILE, MIXED, OUTCOMES
from tests.synthetic import Plan, add_study, new_engine


@pytest.fixture(scope="session")
def url(tmp_path_factory: pytest.TempPathFactory) -> str:
    path = tmp_path_factory.mktemp("live") / "evolve.db"
    engine = new_engine(path)
    add_study(engine, Plan(num_trials=28, verdicts=OUTCOMES * 4, seeds=(0, 1)))
    add_study(engine, Plan(name=HOSTILE, description=HOSTILE, num_trials=9, reason=HOSTILE, traceback=HOSTILE, seed=4))
    engine.dispose()
    return f"sqlite:///{path}"


@pytest.fixture(scope="session")
def reader(url: str) -> Reader:
    return Reader(url)


@pytest.fixture(scope="session")
def client(url: str) -> Any:
    return make_app(url).server.test_client()


@pytest.fixture(scope="session")
def engine(tmp_path_factory):
    engine = new_engine(tmp_path_factory.mktemp("views") / "study.db")
    add_study(engine, Plan(seeds=(0, 1, 2), seed=3))
    add_study(engine, Plan(name="mixed", num_trials=len(MIXED), verdicts=MIXED))
    add_study(engine, Plan(name="many", num_trials=300, epochs=8, log_steps=False, seed=2))
    return engine


@pytest.fixture(scope="session")
def view(engine):
    return load(engine, "digits-lr")


@pytest.fixture(scope="session")
def mixed(engine):
    return load(engine, "mixed")


@pytest.fixture
def own_engine(tmp_path):
    """A database that a test may change."""
    return new_engine(tmp_path / "own.db")
