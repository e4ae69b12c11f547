"""What a link keeps: order, hidden curves, the section being read; the way back; light and dark as chosen."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pytest

from dashboards.report import write_report
from evolve.storage.opening import open_engine
from tests.browser.conftest import NAME
from tests.browser.waiting import wait_filled, wait_ready, wait_steady, wait_until
from tests.synthetic import Plan, add_study, new_engine

pytestmark = [pytest.mark.browser, pytest.mark.timeout(600)]

SHOWN = "document.querySelector('#history .js-plotly-plot')?._fullData"
ALONE = "document.querySelector('#history .js-plotly-plot')?.data.every((each) => each.name === 'diverged')"
DARK = "getComputedStyle(document.documentElement).colorScheme === 'dark'"


def test_a_link_keeps_the_order_of_a_table(open_page: Callable[..., Any], small_address: str) -> None:
    page = open_page()
    page.goto(f"{small_address}/study?study={NAME}")
    wait_filled(page, "trials")
    page.wait_for_selector("#trials .ag-row a")
    page.locator("#trials .ag-header-cell", has_text="fitness").click()
    page.wait_for_url("**sort=2%2Cdesc%2Ctrials-0**")
    first = "document.querySelector('#trials .ag-row[row-index=\"0\"] a')?.innerText"
    wait_until(page, f"{first} && {first} !== '0'")
    best = page.evaluate(first)

    other = open_page()
    other.goto(page.url)
    wait_filled(other, "trials")
    wait_until(other, f"{first} === '{best}'")
    assert other.locator("#trials [col-id=c2][aria-sort=descending]").count() == 1


def test_a_link_keeps_what_the_legend_hides(open_page: Callable[..., Any], small_address: str) -> None:
    page = open_page()
    page.goto(f"{small_address}/study?study={NAME}")
    wait_ready(page, "history")
    wait_steady(page, "#history .nsewdrag")
    page.locator("#history .legendtoggle").nth(1).click()
    page.wait_for_url("**hide=history-0**")
    hidden = f"{SHOWN}.filter((each) => each.visible === 'legendonly').map((each) => each.name).join()"
    assert page.evaluate(hidden)

    other = open_page()
    other.goto(page.url)
    wait_ready(other, "history")
    assert other.evaluate(hidden) == page.evaluate(hidden)
    wait_steady(other, "#history .nsewdrag")
    other.locator("#history .legendtoggle").nth(1).click()
    wait_until(other, "!window.location.search.includes('hide')")


def test_the_way_back_undoes_a_filter(open_page: Callable[..., Any], small_address: str) -> None:
    page = open_page()
    page.goto(small_address)
    page.locator("#table-studies a", has_text=NAME).click()
    wait_ready(page, "history")
    page.locator("[aria-label=verdict] label", has_text="diverged").click()
    page.wait_for_url("**verdict=diverged**")
    wait_until(page, ALONE)

    page.go_back()
    wait_until(page, "!window.location.search.includes('verdict')")
    wait_until(page, f"{SHOWN} && !({ALONE})")
    wait_until(page, "!document.querySelector('[aria-label=verdict] input:checked')")
    page.go_forward()
    wait_until(page, f"window.location.search.includes('verdict=diverged') && {ALONE}")
    page.go_back()
    page.go_back()
    wait_until(page, "document.querySelector('h1')?.innerText === 'Studies'")
    assert page.url.rstrip("/") == small_address


def test_clearing_the_filters_keeps_the_study_and_the_axes_of_the_maps(
    open_page: Callable[..., Any], serve: Callable[[str], str], tmp_path: Path
) -> None:
    kept = {"study": "lr & box, 100% #2", "x": "momentum", "y": "box"}
    add_study(new_engine(tmp_path / "own.db"), Plan(name=kept["study"], num_trials=4))
    page, address = open_page(), serve(f"sqlite:///{tmp_path / 'own.db'}")
    page.goto(f"{address}/study?{urlencode(kept)}&verdict=diverged&text=trial")
    wait_filled(page, "trials")

    page.get_by_role("button", name="clear filters").click()
    wait_until(page, "!window.location.search.includes('verdict')")
    wait_filled(page, "trials")

    shown = page.evaluate("Object.fromEntries(new URLSearchParams(window.location.search))")
    assert shown == kept
    assert page.locator("h1").inner_text() == kept["study"]


def test_a_link_opens_at_the_section_its_sender_read(open_page: Callable[..., Any], small_address: str) -> None:
    page = open_page()
    page.goto(f"{small_address}/study?study={NAME}")
    wait_filled(page, "history")
    page.evaluate("document.getElementById('slices').scrollIntoView({behavior: 'instant'})")
    page.wait_for_url("**#slices")

    other = open_page()
    other.goto(page.url)
    wait_filled(other, "slices")
    wait_steady(other, "section#slices")
    assert abs(other.evaluate("document.getElementById('slices').getBoundingClientRect().top")) < 90


def test_colours_are_as_the_system_until_chosen_and_then_kept(
    open_page: Callable[..., Any], small_address: str
) -> None:
    page = open_page(color_scheme="light")
    page.goto(f"{small_address}/study?study={NAME}")
    wait_ready(page, "history")
    assert not page.evaluate(DARK)
    button = page.get_by_role("button", name="colours")
    button.click()
    button.click()
    wait_until(page, DARK)
    wait_filled(page, "history")
    ink = "document.querySelector('#history .js-plotly-plot')?._fullLayout?.font?.color"
    wait_until(page, f"{ink} === '#D6D9DE'")
    page.reload()
    wait_ready(page, "history")
    assert page.evaluate(DARK)
    assert page.evaluate(ink) == "#D6D9DE"
    button.click()
    wait_until(page, f"!({DARK})")


def test_a_report_has_the_same_switch(open_page: Callable[..., Any], small: Path, tmp_path: Path) -> None:
    page = open_page(color_scheme="dark")
    path = write_report(open_engine(f"sqlite:///{small}"), NAME, tmp_path / "report.html")
    page.goto(path.as_uri())
    wait_until(page, DARK)
    page.get_by_role("button", name="colours").click()
    wait_until(page, f"!({DARK})")
    ink = "document.querySelector('.js-plotly-plot')?._fullLayout?.font?.color"
    wait_until(page, f"{ink} !== '#D6D9DE'")
    assert page.evaluate(ink) == "#2B2F36"
