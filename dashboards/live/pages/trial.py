"""The page of one trial."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from dash import dcc, html

from dashboards.data.trial import TrialView
from dashboards.live.components import attributes
from dashboards.live.pages import frame
from dashboards.panels import TRIAL
from dashboards.questions.panel import Panel
from dashboards.state import PageState, to_address
from evolve.storage.notes import MAX_TAG, MAX_TEXT


def page(view: TrialView, state: PageState) -> list[Any]:
    """The page of a trial, with ways to its neighbours, the best one and its other seeds."""
    study = dcc.Link(state.study, href=to_address(PageState(page="/study", study=state.study)))
    return [
        frame.heading(f"Trial {view.number}", details=["of ", study]),
        html.Div([*_neighbours(view, state), *_seeds(view)], className="steps"),
        *frame.sections(_panels(view), beneath={"notes": _note_form()}),
    ]


def _panels(view: TrialView) -> Sequence[Panel]:
    if view.verdict != "diverged":
        return TRIAL
    # Why it diverged is what its reader comes for.
    return sorted(TRIAL, key=lambda panel: panel.key != "diagnosis")


def _neighbours(view: TrialView, state: PageState) -> list[Any]:
    numbers = sorted(int(number) for number in view.study.trials["number"])
    at = numbers.index(view.number)
    found = []
    if at:
        found.append(("earlier", numbers[at - 1]))
    if at + 1 < len(numbers):
        found.append(("later", numbers[at + 1]))
    links = [
        dcc.Link(f"{what}: trial {number}", href=to_address(PageState(page="/trial", study=state.study, number=number)))
        for what, number in found
    ]
    best = view.study.best
    if best is not None and int(best["number"]) != view.number:
        pair = ((state.study, view.number), (state.study, int(best["number"])))
        links.append(dcc.Link("compare with the best", href=to_address(PageState(page="/compare", compared=pair))))
    return links


def _seeds(view: TrialView) -> list[Any]:
    if len(view.seeds) < 2:
        return []
    return [
        html.Span("seed", className="label"),
        dcc.Dropdown(
            id={"type": "filter", "key": "seed"},
            options=[{"label": str(seed), "value": seed} for seed in view.seeds],
            value=view.seed,
            clearable=False,
            className="choice small",
        ),
    ]


def _note_form() -> Any:
    """Fields for a text and a tag, a button, and a place for what became of the note."""
    # Without a maximum length in the browser, which cuts what is pasted and does not say so.
    text = dcc.Textarea(
        id="note-text",
        placeholder=f"What is to be remembered of this trial, up to {MAX_TEXT:,} characters",
        rows=3,
        spellCheck=True,
        className="field",
    )
    tag = dcc.Input(
        id="note-tag",
        type="text",
        placeholder=f"tag, up to {MAX_TAG} characters",
        autoComplete="off",
        className="field",
    )
    return html.Div(
        [
            html.Label("A note", htmlFor="note-text", className="label"),
            text,
            html.Div([tag, html.Button("Save the note", id="note-save", n_clicks=0)], className="note-end"),
            html.P(id="note-said", role="status", className="caption"),
        ],
        className="note-form",
        role="group",
        **attributes(aria_label="Write a note"),
    )
