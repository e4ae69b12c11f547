"""What a page's controls, pictures and tables say, as the state of the page and back."""

from __future__ import annotations

from dataclasses import replace
from math import inf
from typing import Any, TypeAlias

from dashboards.state import Filters, Hidden, PageState, Range, Sort, Zoom, compared_of, numbers_of

# In the browser: figure, axis and ends of each zoom; table, column and direction of each order; figure and curve.
ViewState: TypeAlias = dict[str, list[list[Any]]]


def state_of(
    before: PageState, values: list[tuple[dict[str, str], Any]], selection: str, view_state: ViewState
) -> PageState:
    """The state that the controls of a page say.

    Args:
        before: State of the page until now: what it is about, and what it showed.
        values: Identity and value of each control.
        selection: Numbers of the selected trials as text, such as 2-9,12; empty for none.
        view_state: What is zoomed, ordered and hidden, as the browser holds it.

    Raises:
        ValueError: A control holds what cannot be understood.
    """
    said = {key: value for identity, value in values if (key := identity.get("key"))}
    pair = {identity["axis"]: value or "" for identity, value in values if identity["type"] == "pair"}
    state = with_view_state(before, selection, view_state)
    if state.page == "/study":
        filters = Filters(
            states=tuple(said.get("states") or ()),
            verdicts=tuple(said.get("verdicts") or ()),
            ranges=_ranges([pair for pair in values if pair[0]["type"] == "range"]),
            text=str(said.get("text") or ""),
        )
        return replace(state, filters=filters, pair=(pair.get("x", ""), pair.get("y", "")))
    if state.page == "/trial" and said.get("seed") is not None:
        return replace(state, seed=int(said["seed"]))
    if state.page == "/compare" and "with" in said:
        return replace(state, compared=compared_of(str(text) for text in said["with"] or ()))
    return state


def with_view_state(state: PageState, selection: str, view_state: ViewState) -> PageState:
    """The state with what the browser holds of selection, zoom, order and hidden curves.

    Raises:
        ValueError: What it holds cannot be understood.
    """
    return replace(
        state,
        selected=tuple(numbers_of(selection or "")),
        zooms=tuple(
            Zoom(figure=str(figure), axis=str(axis), low=float(low), high=float(high))
            for figure, axis, low, high in view_state.get("zooms", ())
        ),
        sorts=tuple(
            Sort(table=str(table), column=int(column), is_descending=bool(is_descending))
            for table, column, is_descending in view_state.get("sorts", ())
        ),
        hidden=tuple(Hidden(figure=str(figure), curve=str(curve)) for figure, curve in view_state.get("hidden", ())),
    )


def view_state_of(state: PageState) -> ViewState:
    """What the browser holds of a state: the inverse of `with_view_state`, but for the selection."""
    return {
        "zooms": [[zoom.figure, zoom.axis, zoom.low, zoom.high] for zoom in state.zooms],
        "sorts": [[sort.table, sort.column, sort.is_descending] for sort in state.sorts],
        "hidden": [[hidden.figure, hidden.curve] for hidden in state.hidden],
    }


def _ranges(values: list[tuple[dict[str, str], Any]]) -> tuple[Range, ...]:
    by_name: dict[str, dict[str, Any]] = {}
    for identity, value in values:
        if value:
            by_name.setdefault(identity["name"], {})[identity["end"]] = value
    return tuple(
        Range(
            name=name,
            low=_end(name, ends.get("low"), -inf),
            high=_end(name, ends.get("high"), inf),
            choices=tuple(ends.get("choices", ())),
        )
        for name, ends in by_name.items()
    )


def _end(name: str, text: str | None, missing: float) -> float:
    try:
        return missing if not text else float(str(text).replace(",", ""))
    except ValueError:
        raise ValueError(f"{name}: {text!r} is not a number such as 0.01 or 1e-3") from None
