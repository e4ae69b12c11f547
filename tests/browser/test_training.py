"""The page and the report of a training: pictures by epoch, by keyboard and without a script, on every device."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from dashboards.panels import TRAINING
from dashboards.report import write_report
from tests.browser.test_browser import DEVICES, overflow
from tests.browser.waiting import wait_until
from tests.synthetic import Plan, add_study, new_engine

pytestmark = [pytest.mark.browser, pytest.mark.timeout(300)]

SEEN = """(() => {
  const strip = document.querySelector("#pictures .album");
  const left = strip && strip.getBoundingClientRect().left;
  const pages = strip ? [...strip.querySelectorAll(".album-page")] : [];
  const seen = pages.find((page) => Math.abs(page.getBoundingClientRect().left - left) < 4);
  return seen ? seen.querySelector("p").textContent : "";
})()"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("training")
    engine = new_engine(path / "evolve.db")
    add_study(engine, Plan(name="trained", num_trials=1, verdicts=["converged"], space={}, epochs=4))
    write_report(engine, "trained", path / "report.html")
    engine.dispose()
    return path


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("is_live", [True, False], ids=["live", "report"])
def test_pictures_begin_at_the_last_epoch_and_the_arrow_keys_go_back(
    open_page: Callable[..., Any], serve: Callable[[str], str], folder: Path, is_live: bool, device: str
) -> None:
    page = open_page(**DEVICES[device])
    live = f"{serve(f'sqlite:///{folder}/evolve.db')}/study?study=trained" if is_live else ""
    page.goto(live or f"file://{folder}/report.html")
    page.wait_for_selector("#pictures")
    page.evaluate("document.getElementById('pictures').scrollIntoView({behavior: 'instant'})")

    wait_until(page, f"{SEEN} === 'after epoch 4 (4 of 4)'")
    assert page.locator("section").count() == len(TRAINING)
    page.focus("#pictures .album")
    page.keyboard.press("ArrowLeft")
    wait_until(page, f"{SEEN} === 'after epoch 3 (3 of 4)'")
    page.keyboard.press("ArrowRight")
    wait_until(page, f"{SEEN} === 'after epoch 4 (4 of 4)'")
    assert overflow(page) == 0
