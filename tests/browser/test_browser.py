"""What people see and do: every page, filters, brushing, links, live updates, on a small study and a large one."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import create_engine, func, insert, select, update
from sqlalchemy.exc import OperationalError

from dashboards.panels import COMPARE, STUDIES, STUDY, TRIAL
from dashboards.report import write_report
from evolve.storage import schema
from evolve.storage.sqlite import tune
from tests.browser.conftest import NAME, PICTURE
from tests.browser.waiting import show_all, wait_filled, wait_ready, wait_steady, wait_until
from tests.places import ROOT
from tests.small_study import SMALL
from tests.synthetic import Plan, add_study, new_engine

pytestmark = [pytest.mark.browser, pytest.mark.timeout(600)]

# Where screenshots are kept for people to look at; without it none are made.
SCREENSHOTS = os.environ.get("EVOLVE_SCREENSHOTS")
PAGES = {
    "studies": ("/", STUDIES),
    "study": ("/study?study={name}", STUDY),
    "trial": ("/trial?study={name}&trial=18", TRIAL),
    "compare": ("/compare?with=18:{name}&with=2:{name}&with=:{name}", COMPARE),
}
BOTH = "/compare?with=0:small&with=1:small&with=:small"
DEVICES: dict[str, dict[str, Any]] = {
    "light": {"color_scheme": "light"},
    "dark": {"color_scheme": "dark"},
    "phone": {"viewport": {"width": 390, "height": 844}, "has_touch": True, "is_mobile": True},
}


def overflow(page: Any) -> int:
    """Pixels by which the page is wider than its window."""
    return int(page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth"))


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("name", PAGES)
def test_every_page_opens_on_every_device(
    open_page: Callable[..., Any], small_address: str, name: str, device: str
) -> None:
    page = open_page(**DEVICES[device])
    path, panels = PAGES[name]
    started = time.perf_counter()
    page.goto(small_address + path.format(name=NAME))
    page.wait_for_selector(".panel .body[data-drawn]:not([data-drawn='']) > *")
    print(f"{name} {device}: first panel after {time.perf_counter() - started:.2f} s")
    show_all(page, panels)

    assert page.locator(".body", has_text="cannot be drawn").count() == 0
    assert overflow(page) == 0
    if SCREENSHOTS:
        page.wait_for_timeout(1500)
        page.evaluate("window.scrollTo(0, 0)")
        page.screenshot(path=Path(SCREENSHOTS) / f"{name}-{device}.png", full_page=True)


@pytest.mark.parametrize("name", PAGES)
def test_every_page_opens_on_a_thousand_trials_and_a_million_steps(
    open_page: Callable[..., Any], large_address: str, name: str
) -> None:
    page = open_page()
    path, panels = PAGES[name]
    started = time.perf_counter()
    page.goto(large_address + path.format(name="large"))
    page.wait_for_selector(f"{PICTURE}, .panel table")
    print(f"large {name}: first useful picture after {time.perf_counter() - started:.2f} s")
    show_all(page, panels)
    least = 0 if name == "studies" else 3
    wait_until(page, f"document.querySelectorAll('{PICTURE}').length >= {least}")

    assert page.locator(".body", has_text="cannot be drawn").count() == 0


def test_a_filter_acts_on_every_picture_and_is_in_the_address(
    open_page: Callable[..., Any], small_address: str
) -> None:
    page = open_page()
    page.goto(f"{small_address}/study?study={NAME}")
    wait_filled(page, "history")
    page.locator("[aria-label=verdict] label", has_text="diverged").click()
    page.wait_for_url("**verdict=diverged**")
    wait_until(
        page, "document.querySelector('#history .js-plotly-plot')?.data.every((each) => each.name !== 'converged')"
    )
    wait_filled(page, "slices")

    wait_until(
        page,
        "[...document.querySelectorAll('#slices .js-plotly-plot')]"
        ".every((plot) => plot.data.length && plot.data.every((each) => each.name === 'diverged'))",
    )
    other = open_page()
    other.goto(page.url)
    wait_filled(other, "history")
    wait_until(other, "document.querySelector('#history .js-plotly-plot')?.data")
    assert other.locator("[aria-label=verdict] input:checked").count() == 1
    shown = "document.querySelector('#history .js-plotly-plot').data.map((each) => each.name)"
    assert other.evaluate(shown) == page.evaluate(shown)


def test_a_ticked_filter_stays_where_it_was(open_page: Callable[..., Any], small_address: str) -> None:
    page = open_page()
    page.goto(f"{small_address}/study?study={NAME}")
    wait_filled(page, "summary")
    page.evaluate("window.scrollTo({top: 0, behavior: 'instant'})")
    label = page.locator("[aria-label=verdict] label", has_text="diverged")
    before = label.bounding_box()
    label.click()
    page.wait_for_url("**verdict=diverged**")

    after, filters = label.bounding_box(), page.locator(".filters").bounding_box()
    assert (after["x"], after["y"]) == (before["x"], before["y"])
    assert filters["y"] < after["y"] < after["y"] + after["height"] < filters["y"] + filters["height"]


def test_tables_are_as_tall_and_as_wide_as_what_they_hold(open_page: Callable[..., Any], small_address: str) -> None:
    for options in ({"viewport": {"width": 1280, "height": 900}}, DEVICES["phone"]):
        page = open_page(**options)
        page.goto(f"{small_address}/study?study={NAME}")
        for key in ("diverged", "setup"):
            wait_filled(page, key)
            hidden = f"""[...document.querySelectorAll('#{key} .scroll')].map((each) =>
                Math.max(each.scrollWidth - each.clientWidth, each.scrollHeight - each.clientHeight))"""
            assert max(page.evaluate(hidden)) <= 1, (key, options)
        # Rows are filled in where they are in sight.
        page.locator("#diverged .ag-row").first.scroll_into_view_if_needed()
        long = "#diverged .ag-cell[col-id=c1]"  # the likely cause, of which these made-up trials have none
        happened = "document.querySelector('#diverged .ag-cell[col-id=c3]')?.innerText.includes('warm-up')"
        wait_until(page, happened)
        told, grid = page.locator(long).first.bounding_box(), page.locator("#diverged .ag-root").bounding_box()
        assert grid["x"] <= told["x"] and told["x"] + told["width"] <= grid["x"] + grid["width"] + 1


def test_buttons_of_pictures_stay_away_where_there_is_no_room(
    open_page: Callable[..., Any], small_address: str, small: Path, tmp_path: Path
) -> None:
    report = write_report(create_engine(f"sqlite:///{small}"), NAME, tmp_path / "report.html")
    for address in (f"{small_address}/study?study={NAME}", report.as_uri()):
        page = open_page(viewport={"width": 390, "height": 844})
        page.goto(address)
        page.locator("#history .js-plotly-plot .nsewdrag").first.wait_for(state="attached")
        shown = "[...document.querySelectorAll('.modebar-container')].some((each) => each.offsetParent)"

        assert not page.evaluate(shown)


def test_a_verdict_that_comes_later_can_be_ticked(
    open_page: Callable[..., Any], serve: Callable[[str], str], tmp_path: Path
) -> None:
    path = tmp_path / "live.db"
    engine = new_engine(path)
    tune(engine)
    add_study(engine, Plan(num_trials=6, verdicts=("converged",) * 5 + ("running",)))
    page = open_page()
    page.goto(f"{serve(f'sqlite:///{path}')}/study?study={NAME}")
    wait_ready(page, "history")
    box = page.locator("[aria-label=verdict] label", has_text="diverged")
    assert box.count() == 0
    with engine.begin() as connection:
        ended = {"verdict": "diverged", "ended": 1.79e9, "reason": "loss nan at step 5", "fitness": None}
        connection.execute(update(schema.trial).where(schema.trial.c.number == 5).values(ended))
    box.wait_for()
    box.click()

    page.wait_for_url("**verdict=diverged**")


def brush(page: Any) -> None:
    """Drags a box over the middle of the history until something is selected: a drag is lost where a picture is drawn
    anew under the mouse, as when its panel is filled late on a busy machine."""
    from playwright.sync_api import TimeoutError as TimedOut

    page.add_style_tag(content="html { scroll-behavior: auto !important }")
    wait_ready(page, "history")
    for _ in range(3):
        page.evaluate("document.getElementById('history').scrollIntoView()")
        wait_steady(page, "#history .nsewdrag")
        box = page.locator("#history .nsewdrag").first.bounding_box()
        page.mouse.move(box["x"] + 60, box["y"] + 4)
        page.mouse.down()
        page.mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] - 8, steps=10)
        page.mouse.up()
        with suppress(TimedOut):
            page.wait_for_url("**selected=**", timeout=20_000)
            return
    raise AssertionError(f"nothing was selected by three drags: {page.url}")


def test_brushing_in_one_picture_selects_in_the_others_and_a_link_keeps_it(
    open_page: Callable[..., Any], small_address: str
) -> None:
    page = open_page()
    page.goto(f"{small_address}/study?study={NAME}")
    brush(page)
    wait_filled(page, "slices")
    marked = """[...document.querySelectorAll('#slices .js-plotly-plot')].every((plot) =>
        plot.data.every((trace) => trace.selectedpoints) && plot.data.some((trace) => trace.selectedpoints.length))"""
    wait_until(page, marked)

    assert "selected" in page.locator("#selected").inner_text()
    other = open_page()
    other.goto(page.url)
    wait_filled(other, "slices")
    wait_until(other, marked)
    other.get_by_role("button", name="clear", exact=True).click()
    wait_until(other, "!window.location.search.includes('selected')")
    wait_until(other, "document.querySelector('#selected').innerText === ''")


def test_a_running_study_appears_without_a_reload_and_keeps_zoom_and_scroll(
    open_page: Callable[..., Any], serve: Callable[[str], str], tmp_path: Path
) -> None:
    path = tmp_path / "live.db"
    engine = new_engine(path)
    tune(engine)
    add_study(engine, Plan(num_trials=12, verdicts=("converged",) * 9 + ("running",) * 3))
    address = serve(f"sqlite:///{path}")
    page = open_page()
    page.goto(f"{address}/study?study={NAME}")
    wait_ready(page, "history")
    page.evaluate("window.Plotly.relayout(document.querySelector('#history .js-plotly-plot'), {'xaxis.range': [1, 6]})")
    page.wait_for_url("**zoom=**")
    page.evaluate("document.getElementById('history').scrollIntoView({behavior: 'instant'})")
    # Of what is read, not of the page: a sentence above it may grow by a line.
    place = "document.querySelector('#history .js-plotly-plot').getBoundingClientRect().top"
    before = page.evaluate(place)
    with engine.begin() as connection:
        row = connection.execute(select(schema.trial.c.trial_id).where(schema.trial.c.number == 10)).one()
        ended = {"verdict": "diverged", "ended": 1.79e9, "reason": "loss nan at step 5", "fitness": None}
        connection.execute(update(schema.trial).where(schema.trial.c.trial_id == row.trial_id).values(ended))
    wait_until(
        page, "document.querySelector('#history .js-plotly-plot')?.data.some((each) => each.name === 'diverged')"
    )

    shown = "document.querySelector('#history .js-plotly-plot').layout.xaxis.range"
    assert page.evaluate(shown) == [1, 6]
    assert abs(page.evaluate(place) - before) < 5


def test_a_table_scrolls_through_a_thousand_trials_and_sorts_on_the_server(
    open_page: Callable[..., Any], large_address: str
) -> None:
    page = open_page()
    page.goto(f"{large_address}/study?study=large")
    wait_filled(page, "trials")
    page.wait_for_selector("#trials .ag-row a")
    page.locator("#trials .ag-header-cell", has_text="fitness").click()
    wait_until(page, "document.querySelector('#trials [col-id=c2][aria-sort=descending]')")

    cells = "[...document.querySelectorAll('#trials .ag-center-cols-container .ag-cell[col-id=c2]')].slice(0, 8)"
    values = f"{cells}.map((cell) => parseFloat(cell.innerText))"
    wait_until(page, f"{values}.length === 8 && {values}.every((each, at, all) => !at || each <= all[at - 1])")
    page.locator("#trials .ag-row a").first.click()
    page.wait_for_url("**/trial?**")
    wait_filled(page, "summary")
    assert page.locator("h1").inner_text().startswith("Trial")


def test_pages_are_used_by_keyboard_alone(open_page: Callable[..., Any], small_address: str) -> None:
    page = open_page()
    page.goto(small_address)
    page.wait_for_selector("#table-studies a")
    for _ in range(20):
        page.keyboard.press("Tab")
        if page.evaluate("document.activeElement.textContent") == NAME:
            break
    page.keyboard.press("Enter")
    page.wait_for_url("**/study?**")
    page.wait_for_selector("[aria-label=verdict] input")
    page.locator("[aria-label=verdict] input").first.focus()
    page.keyboard.press("Space")
    page.wait_for_url("**verdict=**")

    assert f"study={NAME}" in page.url


def test_names_that_are_markup_stay_text(
    open_page: Callable[..., Any], serve: Callable[[str], str], tmp_path: Path
) -> None:
    hostile = '<img src=x onerror="document.title=1">'
    engine = new_engine(tmp_path / "h.db")
    add_study(engine, Plan(name=hostile, description=hostile, num_trials=20, reason=hostile, traceback=hostile))
    with engine.begin() as connection:
        note = {"trial_id": 1, "created": 1.0, "author": hostile, "text": hostile, "tag": hostile[:60]}
        connection.execute(insert(schema.note).values(note))
    address = serve(f"sqlite:///{tmp_path / 'h.db'}")
    page = open_page()
    page.goto(address)
    page.locator("#table-studies a").click()
    show_all(page, STUDY)
    page.goto(address + page.locator("#trials .ag-row a").first.get_attribute("href"))
    show_all(page, TRIAL)

    assert page.locator('img:not([src^="data:image/"])').count() == 0  # pictures of ours are in the page itself
    assert page.locator("h1").inner_text().startswith("Trial")


def test_a_study_is_followed_while_it_really_trains(
    open_page: Callable[..., Any], serve: Callable[[str], str], tmp_path: Path
) -> None:
    (tmp_path / "small.yaml").write_text(SMALL.replace("epochs: 1", "epochs: 4"))
    root = str(ROOT)
    running = subprocess.Popen(
        [sys.executable, "-m", "evolve.cli", "run", "--study", "small.yaml"],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": root, "OMP_NUM_THREADS": "1"},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        database = tmp_path / "runs" / "evolve.db"
        until = time.monotonic() + 120
        while not database.exists() or not has_study(database):
            assert running.poll() is None and time.monotonic() < until
            time.sleep(0.2)
        address = serve(f"sqlite:///{database}")
        page = open_page()
        page.goto(f"{address}/study?study=small")
        page.locator("section#summary", has_text="1 undertrained and 1 diverged").wait_for(timeout=180_000)
        assert running.wait(timeout=120) == 0
        show_all(page, STUDY)
        wait_until(page, f"document.querySelectorAll('{PICTURE}').length >= 3")
        assert page.locator(".body", has_text="cannot be drawn").count() == 0
        for path, panels in (("/", STUDIES), ("/trial?study=small&trial=1", TRIAL), (BOTH, COMPARE)):
            page.goto(address + path)
            show_all(page, panels)
            assert page.locator(".body", has_text="cannot be drawn").count() == 0
    finally:
        running.terminate()
        running.wait(timeout=60)


def has_study(database: Path) -> bool:
    """Whether a study is stored, however far its tables have come."""
    engine = create_engine(f"sqlite:///{database}")
    try:
        with engine.connect() as connection:
            return connection.scalar(select(func.count()).select_from(schema.study)) == 1
    except OperationalError:
        return False
    finally:
        engine.dispose()
