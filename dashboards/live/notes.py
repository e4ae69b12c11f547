"""The one thing that the pages write: a note on a trial, over a connection of its own beside the reader's."""

from __future__ import annotations

from typing import Any

from dash import Dash, Input, Output, State, no_update
from dash.exceptions import PreventUpdate

from dashboards.data.reader import Reader, UnavailableError
from dashboards.live.callbacks import version_of
from dashboards.state import AddressError, PageState, from_address
from evolve.errors import EvolveError
from evolve.storage.notes import leave_note


def add_notes(app: Dash, reader: Reader, storage_url: str) -> None:
    @app.callback(
        Output("note-said", "children"),
        Output("note-text", "value"),
        Output("note-tag", "value"),
        Output("version", "data", allow_duplicate=True),
        Input("note-save", "n_clicks"),
        State("note-text", "value"),
        State("note-tag", "value"),
        State("query", "data"),
        running=[(Output("note-save", "disabled"), True, False)],  # a second click would write it twice
        prevent_initial_call=True,
    )
    def _save(clicks: int | None, text: object, tag: object, query: str) -> Any:
        if not clicks:
            raise PreventUpdate
        try:
            state = _trial_state(query)
            leave_note(
                storage_url, study_name=state.study, number=state.number, text=str(text or ""), tag=str(tag or "")
            )
        except (EvolveError, AddressError) as error:
            return str(error), no_update, no_update, no_update
        return "The note is stored.", "", "", _version(reader, state)


def _trial_state(query: object) -> PageState:
    state = from_address(str(query or ""))
    if state.page != "/trial":
        raise AddressError(f"note: {state.page} is not the page of a trial, such as /trial?study=lr_sweep&trial=7")
    return state


def _version(reader: Reader, state: PageState) -> Any:
    # The panels then show the note at once, not at the clock's next query.
    try:
        return version_of(reader, state)
    except UnavailableError:
        return no_update
