"""Filters act on everything that is read of a study."""

from __future__ import annotations

from pathlib import Path

from sqlalchemy import create_engine

from dashboards.data.filters import narrowed
from dashboards.data.reader import Reader
from dashboards.data.study_loading import load
from dashboards.live.app import page_of
from dashboards.state import Filters, PageState, Range
from evolve.storage.notes import add_note
from tests.dashboards.examples import NAME, walk
from tests.synthetic import Plan, add_study, new_engine


def test_one_filter_acts_on_trials_epochs_steps_and_diagnoses(url: str) -> None:
    view = load(create_engine(url), NAME)

    narrow = narrowed(view, Filters(verdicts=("diverged",)))

    assert set(narrow.trials["verdict"]) == {"diverged"}
    numbers = set(narrow.trials["number"])
    assert numbers == {1, 8, 15, 22}
    for frame in (narrow.epochs, narrow.steps, narrow.last_steps):
        assert set(frame["number"]) <= numbers
    assert set(narrow.diagnoses) <= numbers
    assert set(narrow.params.index) <= numbers
    assert narrow.best is None


def test_ranges_choices_states_and_text_narrow_together(url: str) -> None:
    view = load(create_engine(url), NAME)
    middle = float(view.params["lr0"].median())

    narrow = narrowed(
        view,
        Filters(
            states=("COMPLETE",),
            ranges=(Range(name="lr0", high=middle), Range(name="schedule", choices=("linear",))),
            text="CONVERGED",
        ),
    )

    kept = view.params[(view.params["lr0"] <= middle) & (view.params["schedule"] == "linear")].index
    complete = view.trials[view.trials["verdict"].isin(["converged"])]["number"]
    assert set(narrow.trials["number"]) == set(kept) & set(complete)
    assert len(narrow.trials)


def test_progress_is_told_in_our_words_and_not_in_optunas(url: str, reader: Reader) -> None:
    view = load(create_engine(url), NAME)
    page = page_of(reader, PageState(page="/study", study=NAME))

    ended = narrowed(view, Filters(states=("ended",)))
    boxes = next(each for each in walk(page) if getattr(each, "id", "") == {"type": "filter", "key": "states"})
    assert [option["value"] for option in boxes.options] == ["running", "ended"]
    assert set(ended.trials["verdict"]) == {"converged", "undertrained", "diverged", "pruned", "failed"}
    assert set(narrowed(view, Filters(states=("running",))).trials["verdict"]) == {"running"}


def test_text_finds_notes_and_tags(tmp_path: Path) -> None:
    engine = new_engine(tmp_path / "n.db")
    add_study(engine, Plan(num_trials=4))
    add_note(engine, NAME, 2, "spike after warm-up", tag="odd")

    view = load(engine, NAME)

    assert list(narrowed(view, Filters(text="SPIKE odd")).trials["number"]) == [2]
