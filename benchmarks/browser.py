"""What a reader waits for in Chromium: the first useful picture of a large study, and the answer to a filter.

The study has 1,000 trials and 1,000,000 rows of steps. `evolve dashboard` runs as a process of its own; every visit is
a fresh browser profile, so that nothing is kept from the one before; the first visit also finds the server with
nothing read.
"""

from __future__ import annotations

import argparse
import platform
import shutil
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

from playwright.sync_api import sync_playwright

from benchmarks.dashboard import ours
from tests.browser.conftest import FLAGS, PICTURE
from tests.browser.large import large_study

DRAWN = """(() => { const plot = document.querySelector('#history .js-plotly-plot');
    return plot && plot.data.length && plot.data.every((each) => each.name === 'diverged'); })()"""


def visit(browser: Any, address: str, page_path: str, *, has_filter: bool) -> tuple[float, float]:
    """Seconds until a picture is drawn, and from a click on a verdict until the history shows it alone."""
    context = browser.new_context(viewport={"width": 1240, "height": 900})
    page = context.new_page()
    started = time.perf_counter()
    page.goto(address + page_path, wait_until="commit")
    page.wait_for_selector(PICTURE)
    first = time.perf_counter() - started
    answered = float("nan")
    if has_filter:
        page.wait_for_selector("#history .nsewdrag", state="attached")
        page.wait_for_timeout(1500)  # a reader looks before clicking
        started = time.perf_counter()
        page.locator("[aria-label=verdict] label", has_text="diverged").click()
        while not page.evaluate(DRAWN):
            page.wait_for_timeout(5)
        answered = time.perf_counter() - started
    context.close()
    return first, answered


def told(what: str, values: list[float]) -> str:
    """One line of the table: the first visit, and median and worst of the later ones."""
    later = values[1:]
    return f"{what:<42} {values[0]:>8.2f} {statistics.median(later):>8.2f} {max(later):>8.2f}"


def main() -> None:
    """Prints a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--visits", type=int, default=8)
    visits = parser.parse_args().visits
    print(f"{platform.machine()}, Python {platform.python_version()}, {visits} visits, seconds")
    print(f"{'':<42} {'first':>8} {'median':>8} {'worst':>8}")
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "large.db"
        large_study(path)
        with sync_playwright() as started:
            browser = started.chromium.launch(executable_path=shutil.which("chromium"), args=FLAGS)
            for name, has_filter in (("study", True), ("trial", False)):
                with ours(path) as address:
                    page_path = f"/{name}?study=large" + ("&trial=18" if name == "trial" else "")
                    found = [visit(browser, address, page_path, has_filter=has_filter) for _ in range(visits)]
                print(told(f"{name}: first useful picture", [first for first, _ in found]))
                if has_filter:
                    print(told(f"{name}: answer to a filter", [answered for _, answered in found]))
            browser.close()


if __name__ == "__main__":
    main()
