"""The report: one file, complete, safe, and true to the database."""

from __future__ import annotations

import base64
import json
import os
import re
import subprocess
import sys
from html.parser import HTMLParser

import numpy as np
import pytest
from optuna.distributions import CategoricalDistribution
from sqlalchemy import update

from dashboards.data.study_loading import StudyNotFoundError, load
from dashboards.figures import theme
from dashboards.panels import STUDY
from dashboards.report import render, write_report
from evolve.storage import schema
from tests.synthetic import SPACE, Plan, add_study, new_engine

HOSTILE = "<script>alert(1)</script> \"q\" 's' </title>\n%{x} &amp; <b>bold</b>"
STUDIES = {
    "plain": Plan(name="plain", seeds=(0, 1, 2), seed=3),
    "empty": Plan(name="empty", num_trials=0, has_findings=False),
    "only diverged": Plan(name="only diverged", num_trials=5, verdicts=["diverged"] * 5),
    "only running": Plan(name="only running", num_trials=2, verdicts=["running"] * 2),
    "only waiting": Plan(name="only waiting", num_trials=1, verdicts=["waiting"]),
    "only failed": Plan(name="only failed", num_trials=3, verdicts=["failed"] * 3, traceback=f"T\n{HOSTILE}\nKeyError"),
    "no steps": Plan(name="no steps", num_trials=4, log_steps=False),
    "one trial": Plan(name="one trial", num_trials=1, verdicts=["converged"]),
    "no space": Plan(name="no space", num_trials=3, verdicts=["converged"] * 3, space={}),
    HOSTILE: Plan(
        name=HOSTILE,
        description=HOSTILE,
        reason=HOSTILE,
        space={"lr0": SPACE["lr0"], "schedule": CategoricalDistribution([HOSTILE, "linear"])},
    ),
}


class Page(HTMLParser):
    """What a browser would see: elements, text outside scripts, and the content of each script."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.scripts: list[str] = []
        self.text = ""
        self._open = ""
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        self._open = tag
        if tag == "script":
            self.scripts.append("")

    def handle_endtag(self, tag):
        self._open = ""

    def handle_data(self, data):
        if self._open == "script":
            self.scripts[-1] += data
        elif self._open != "style":
            self.text += data

    def count(self, tag):
        return sum(each == tag for each, _ in self.tags)

    @property
    def figures(self):
        contents = [json.loads(each) for each in self.scripts if each.startswith('{"data"')]
        return [decoded(content) for content in contents]


def decoded(content):
    """Plotly's JSON with its packed arrays as lists."""
    if isinstance(content, dict) and "bdata" in content:
        return np.frombuffer(base64.b64decode(content["bdata"]), dtype=content["dtype"]).tolist()
    if isinstance(content, dict):
        return {key: decoded(each) for key, each in content.items()}
    return [decoded(each) for each in content] if isinstance(content, list) else content


@pytest.fixture(scope="module")
def engine(tmp_path_factory):
    engine = new_engine(tmp_path_factory.mktemp("report") / "study.db")
    for plan in STUDIES.values():
        add_study(engine, plan)
    return engine


@pytest.fixture(scope="module")
def page(engine, tmp_path_factory):
    path = tmp_path_factory.mktemp("page") / "report.html"
    return Page(write_report(engine, "plain", path).read_text(encoding="utf-8"))


@pytest.mark.parametrize("name", STUDIES)
def test_every_study_has_a_page_with_all_sections_and_nothing_of_a_user_as_markup(engine, name):
    text = render(load(engine, name))
    found = Page(text)

    sections = [attrs["id"] for tag, attrs in found.tags if tag == "section"]
    assert sections == [panel.key for panel in STUDY if panel.key in sections or not panel.is_optional]
    # The page's own scripts: light and dark, templates, colours, plotly, ours, and one a figure.
    assert found.count("script") == 5 + len(found.figures) == 5 + found.count("figure")
    assert found.count("b") == text.count("</span> <b>")
    assert found.count("title") == 1
    assert name.split()[0] in found.text


def test_what_has_nothing_to_show_is_left_out_and_captions_show_commands_as_code(own_engine):
    add_study(own_engine, Plan(num_trials=2, verdicts=["converged"] * 2))
    text = render(load(own_engine, "digits-lr"))

    assert 'id="diverged"' in text and "No trial diverged." in text
    assert 'id="cured"' not in text and 'id="approach"' not in text
    assert "<code>evolve follow</code>" in text


def test_a_hostile_name_is_read_as_it_was_written(engine):
    found = Page(render(load(engine, HOSTILE)))

    assert HOSTILE in found.text
    assert all("alert(1)</script>" not in each for each in found.scripts)


def test_figures_on_the_page_hold_the_numbers_of_the_database(engine, page):
    view = load(engine, "plain")
    history = page.figures[0]
    best = next(trace for trace in history["data"] if trace["name"] == "best so far")
    converged = next(trace for trace in history["data"] if trace["name"] == "converged")
    rows = view.trials.query("verdict == 'converged'")

    assert best["y"][-1] == view.best["fitness"]
    assert converged["x"] == rows["number"].tolist()
    assert converged["y"] == rows["fitness"].tolist()


def test_the_table_on_the_page_has_a_row_for_each_trial_with_rounded_numbers(engine):
    text = render(load(engine, "plain"))
    table = text[text.index('id="table-trials"') :]
    rows = re.findall(r"<tr>(.*?)</tr>", table[: table.index("</table>")], re.DOTALL)
    view = load(engine, "plain")

    assert len(rows) == 1 + 16
    cells = [re.sub("<[^>]*>", "", cell) for cell in re.findall(r"<td.*?</td>", rows[2])]
    trial, params = view.trial(1), view.params_of(1)
    assert cells[:4] == ["1", trial["verdict"], f"{trial['fitness']:.3f}", f"{trial['map50']:.3f}"]
    assert f"{params['momentum']:.4g}" in cells


def test_the_page_knows_the_colours_of_a_dark_one(page):
    assert json.dumps(theme.ON_DARK) in page.scripts


def test_the_page_asks_the_network_for_nothing(page):
    loaded = [attrs.get("src") or attrs.get("href") for _, attrs in page.tags]
    policy = next(attrs["content"] for tag, attrs in page.tags if attrs.get("http-equiv"))

    assert all(each is None or each.startswith(("#", "data:")) for each in loaded)
    assert policy.startswith("default-src 'none'")
    assert any("plotly.js v" in each for each in page.scripts)


def test_no_button_offers_to_upload_a_figure(page):
    assert "showSendToCloud: false" in page.scripts[-1]


def test_figures_leave_their_template_to_the_page(page):
    templates = json.loads(next(each for each in page.scripts if each.startswith('{"light"')))

    assert all("template" not in figure["layout"] for figure in page.figures)
    assert set(templates) == {"light", "dark"}


def test_text_that_explains_emptiness_says_what_to_do(engine):
    found = Page(render(load(engine, "empty")))

    assert "Start the study with evolve run" in found.text
    assert found.figures == []


def test_a_traceback_is_whole_behind_its_last_line(engine):
    found = Page(render(load(engine, "only failed")))

    assert "Trials 0, 1 and 2: KeyError" in found.text
    assert f"T\n{HOSTILE}\nKeyError" in found.text
    assert found.count("details") == 1


def test_metrics_that_are_no_numbers_are_shown_as_missing(tmp_path):
    engine = new_engine(tmp_path / "nan.db")
    add_study(engine, Plan(num_trials=3, verdicts=["converged"] * 3))
    measured = ("fitness", "map50", "map50_95", "precision", "recall", "train_box", "loss_box", "loss_cls")
    with engine.begin() as connection:
        connection.execute(update(schema.epoch).values(dict.fromkeys(measured, float("nan"))))
        connection.execute(update(schema.trial).values(fitness=float("nan"), seconds=float("nan")))
    found = Page(render(load(engine, "digits-lr")))

    assert "3 trials: 3 converged. None has run to its end" in found.text
    assert "\N{EN DASH}" in found.text
    assert "nan" not in found.text.lower().replace("finance", "")


def test_infinite_losses_and_gradients_do_not_break_the_page(tmp_path):
    engine = new_engine(tmp_path / "inf.db")
    add_study(engine, Plan(num_trials=4, verdicts=["converged", "diverged", "converged", "converged"]))
    with engine.begin() as connection:
        connection.execute(update(schema.epoch).where(schema.epoch.c.epoch == 3).values(loss_box=float("inf")))
        connection.execute(update(schema.step).where(schema.step.c.step < 3).values(grad_norm=float("inf")))
        connection.execute(update(schema.trial).where(schema.trial.c.number == 2).values(fitness=float("inf")))

    assert Page(render(load(engine, "digits-lr"))).figures


def test_the_page_replaces_an_older_one_and_leaves_no_draft(engine, tmp_path):
    path = tmp_path / "runs" / "plain" / "report.html"
    first = write_report(engine, "plain", path)
    path.write_text("old")
    second = write_report(engine, "plain", path)

    assert first == second == path
    assert path.read_text(encoding="utf-8").startswith("<!DOCTYPE html>")
    assert [each.name for each in path.parent.iterdir()] == ["report.html"]


def test_a_page_that_cannot_be_made_leaves_the_old_one_alone(engine, tmp_path, monkeypatch):
    path = tmp_path / "report.html"
    path.write_text("old")
    with pytest.raises(StudyNotFoundError):
        write_report(engine, "nothing", path)
    monkeypatch.setattr(os, "replace", lambda *_: (_ for _ in ()).throw(OSError("disk full")))
    with pytest.raises(OSError, match="disk full"):
        write_report(engine, "plain", path)

    assert path.read_text() == "old"
    assert [each.name for each in tmp_path.iterdir()] == ["report.html"]


def test_a_thousand_trials_fit_in_ten_megabytes(tmp_path):
    engine = new_engine(tmp_path / "big.db")
    add_study(engine, Plan(num_trials=1000, epochs=6, log_steps=False))
    path = write_report(engine, "digits-lr", tmp_path / "report.html")
    found = Page(path.read_text(encoding="utf-8"))

    assert path.stat().st_size < 10e6
    assert sum(len(figure["data"]) for figure in found.figures) < 200
    assert "1,000 rows" in found.text


def test_the_report_loads_no_torch_and_nothing_that_runs_trials():
    code = (
        "import sys, dashboards.report; "
        "print(sorted(set(sys.modules) & {'torch', 'evolve.run.runner', 'evolve.cli', 'evolve.run.detection'}))"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert found.stdout.strip() == "[]"
