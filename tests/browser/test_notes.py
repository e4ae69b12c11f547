"""A note written on the page of a trial, as people write it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from evolve.storage.notes import add_note
from tests.browser.conftest import NAME
from tests.browser.waiting import wait_filled, wait_until
from tests.synthetic import Plan, add_study, new_engine

pytestmark = [pytest.mark.browser, pytest.mark.timeout(300)]


def test_a_note_is_written_shown_and_stays_text_while_what_is_typed_outlasts_news(
    open_page: Callable[..., Any], serve: Callable[[str], str], tmp_path: Path
) -> None:
    engine = new_engine(tmp_path / "n.db")
    add_study(engine, Plan(num_trials=3))
    page = open_page()
    page.goto(f"{serve(f'sqlite:///{tmp_path}/n.db')}/trial?study={NAME}&trial=1")
    wait_filled(page, "notes")
    save = page.get_by_role("button", name="Save the note")

    save.click()
    page.locator("#note-said", has_text="neither a text nor a tag").wait_for()
    page.get_by_label("A note", exact=True).fill("<img src=x onerror='document.title=1'>\nsecond line")
    page.locator("#note-tag").fill("odd")
    save.click()
    page.locator("#note-said", has_text="The note is stored.").wait_for()
    shown = page.locator("#notes .body p", has_text="second line")
    shown.wait_for()
    assert "#odd <img src=x" in shown.inner_text()
    assert page.locator('img:not([src^="data:image/"])').count() == 0
    assert page.get_by_label("A note", exact=True).input_value() == page.locator("#note-tag").input_value() == ""

    page.get_by_label("A note", exact=True).fill("half a sen")
    add_note(engine, NAME, 1, "from the shell")
    page.locator("#notes .body p", has_text="from the shell").wait_for()
    assert page.get_by_label("A note", exact=True).input_value() == "half a sen"
    wait_until(page, "!document.getElementById('note-save').disabled")
