"""The page of a study: its filters act on every picture at once."""

from __future__ import annotations

from collections.abc import Sequence
from math import isfinite
from typing import Any

from dash import dcc, html

from dashboards.data.study import Parameter, StudyView
from dashboards.data.trial import TrialView
from dashboards.data.trial_sets import VERDICTS
from dashboards.live.components import attributes
from dashboards.live.pages import frame
from dashboards.panels import TRAINING, panels_of
from dashboards.state import PROGRESS, Filters, PageState, Range, to_address
from evolve import formatting

MAX_NAMES = 60


def page(view: StudyView, state: PageState) -> list[Any]:
    """The page of a study, with the controls as the address says."""
    return [_heading(view), _controls(view, state), *frame.sections(panels_of(state.page, view))]


def training_page(view: TrialView, state: PageState) -> list[Any]:
    """The page of a study that is one training; its trial has a page of its own, for notes and other seeds."""
    own = PageState(page="/trial", study=state.study, number=view.number)
    link = dcc.Link("write a note, or look at another seed", href=to_address(own))
    return [_heading(view.study), html.Div([link], className="steps"), *frame.sections(TRAINING)]


def _heading(view: StudyView) -> Any:
    facts = view.facts
    details = [" · ".join(part for part in (facts.text("model"), facts.text("data"), _size(view)) if part)]
    return frame.heading(facts.name, details=details)


def verdict_choices(view: StudyView, filters: Filters) -> list[str]:
    """Verdicts that can be ticked: those of the study's trials as it is now, and those that are asked for."""
    present = {*view.trials["verdict"], *filters.verdicts}
    return [verdict for verdict in VERDICTS if verdict in present] + sorted(present - set(VERDICTS))


def options(choices: Sequence[str]) -> list[dict[str, str]]:
    """Choices as a checklist takes them."""
    return [{"label": choice, "value": choice} for choice in choices]


def _size(view: StudyView) -> str:
    size = view.facts.text("image_size")
    return f"{size} px" if size else ""


def _controls(view: StudyView, state: PageState) -> Any:
    filters = state.filters
    verdicts = verdict_choices(view, filters)
    states = list(dict.fromkeys((*PROGRESS, *filters.states)))
    asked = {wanted.name: wanted for wanted in filters.ranges}
    # Also those that no trial has yet: the page stays open while the first ones start.
    axes = view.space[:MAX_NAMES]
    return html.Details(
        [
            html.Summary(["Filters", html.Span(id={"type": "message", "key": "filters"}, className="message")]),
            html.Div(
                [
                    _labelled("verdict", _checklist("verdicts", verdicts, filters.verdicts)),
                    _labelled("progress", _checklist("states", states, filters.states)),
                    _labelled("text", _text(filters.text)),
                    _labelled("axes of the maps", _pair(axes, state.pair)),
                    html.Button("clear filters", id={"type": "clear", "what": "filters"}, n_clicks=0),
                ],
                className="controls",
            ),
            html.Div([_range(axis, asked.get(axis.name)) for axis in axes], className="controls ranges"),
        ],
        className="filters",
        open=True,
    )


def _labelled(title: str, control: Any) -> Any:
    return html.Div([html.Span(title, className="label"), control], role="group", **attributes(aria_label=title))


def _checklist(key: str, choices: list[str], chosen: tuple[str, ...]) -> Any:
    return dcc.Checklist(
        id={"type": "filter", "key": key}, options=options(choices), value=list(chosen), inline=True, className="chips"
    )


def _text(text: str) -> Any:
    return dcc.Input(
        id={"type": "filter", "key": "text"},
        value=text,
        type="search",
        debounce=0.25,
        placeholder="reason, note, tag, number",
        className="field",
    )


def _pair(axes: Sequence[Parameter], pair: tuple[str, str]) -> Any:
    names = [{"label": formatting.short(axis.name), "value": axis.name} for axis in axes]
    return html.Div(
        [
            dcc.Dropdown(
                id={"type": "pair", "axis": axis},
                options=names,
                value=name or None,
                placeholder=f"{axis}: automatic",
                clearable=True,
                className="choice",
            )
            for axis, name in zip("xy", pair, strict=True)
        ],
        className="pair",
    )


def _range(axis: Parameter, asked: Range | None) -> Any:
    name = formatting.short(axis.name)
    if axis.is_categorical:
        control: Any = dcc.Checklist(
            id={"type": "range", "name": axis.name, "end": "choices"},
            options=[
                {"label": formatting.short(formatting.choice(choice)), "value": choice} for choice in axis.choices
            ],
            value=list(asked.choices) if asked else [],
            inline=True,
            className="chips",
        )
        return _labelled(name, control)
    ends = {"low": asked.low if asked else float("nan"), "high": asked.high if asked else float("nan")}
    hints = {"low": axis.low, "high": axis.high}
    fields = [
        dcc.Input(
            id={"type": "range", "name": axis.name, "end": end},
            value=f"{value:.10g}" if isfinite(value) else "",
            type="text",
            debounce=0.4,
            placeholder=formatting.number(hints[end]) if isfinite(hints[end]) else "any",
            className="field number",
        )
        for end, value in ends.items()
    ]
    return _labelled(name, html.Div([fields[0], html.Span("to"), fields[1]], className="span"))
