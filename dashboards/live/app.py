"""The live dashboard: pages of panels over a database that is only read, but for notes on trials."""

from __future__ import annotations

from typing import Any

from dash import Dash, Input, Output, ctx, dcc, html

from dashboards.data.reader import Reader, UnavailableError
from dashboards.data.trial import TrialView, single_trial
from dashboards.figures import theme
from dashboards.live.callbacks import add_clientside, add_clock, add_panels, add_state, add_tables
from dashboards.live.controls import view_state_of
from dashboards.live.delivery import PLOTLY_PATH, compress, serve_data, serve_plotly
from dashboards.live.notes import add_notes
from dashboards.live.pages import compare, frame, study, trial
from dashboards.live.requests import check_asked
from dashboards.live.security import Access, protect
from dashboards.panels import STUDIES
from dashboards.state import AddressError, PageState, from_address
from evolve import formatting
from evolve.errors import EvolveError

CHECK_SECONDS = 2.0
INDEX = """<!DOCTYPE html>
<html lang="en">
<head>
{%metas%}
<meta name="color-scheme" content="light dark">
<script src="/assets/theme.js"></script>
<script async src="PLOTLY"></script>
<title>{%title%}</title>
<link rel="icon" href="data:,">
{%css%}
<style>VERDICTS</style>
</head>
<body>
{%app_entry%}
<footer>{%config%}{%scripts%}{%renderer%}</footer>
</body>
</html>"""


def make_app(storage_url: str, access: Access | None = None) -> Dash:
    """The dashboard over a database, ready to be served.

    Args:
        storage_url: Any SQLAlchemy URL; an SQLite file may come later.
        access: Who may read; by default this machine alone.

    Raises:
        UnavailableError: The URL cannot be used.
    """
    reader = Reader(storage_url)
    app = Dash(
        "dashboards",  # whose assets are served
        assets_ignore=r"(report\.(js|html)|theme\.js)$",
        serve_locally=True,
        suppress_callback_exceptions=True,
        title="evolve",
        update_title="",
        index_string=INDEX.replace("VERDICTS", theme.verdict_css()).replace("PLOTLY", PLOTLY_PATH),
        eager_loading=False,
    )
    app.layout = _layout()
    _add_routing(app, reader)
    add_state(app)
    add_panels(app, reader)
    add_clock(app, reader)
    add_tables(app, reader)
    add_notes(app, reader, storage_url)
    add_clientside(app)
    compress(app.server)
    serve_data(app.server, reader)
    serve_plotly(app.server)
    hashes = app.csp_hashes()
    protect(app.server, access or Access(), lambda: hashes)
    check_asked(app)  # after who asks
    return app


def _layout() -> Any:
    stores: dict[str, Any] = dict.fromkeys(("query", "selection", "version"), "")
    stores |= {"seen": [], "view": view_state_of(PageState()), "device": None, "written": [], "returned": []}
    return html.Div(
        [
            dcc.Location(id="address", refresh=False),
            *(dcc.Store(id=name, data=value) for name, value in stores.items()),
            dcc.Interval(id="clock", interval=int(CHECK_SECONDS * 1000)),
            html.Div(
                [
                    dcc.Link("evolve", href="/", className="brand"),
                    dcc.Link("Studies", href="/"),
                    dcc.Link("Compare", href="/compare"),
                    html.Span(id="news", role="status"),
                    html.Button("colours: ", className="colours", title="light, dark or as the system"),
                ],
                className="top",
            ),
            html.Div(id="page"),
            html.Div(id="selected", role="status"),
        ]
    )


def _add_routing(app: Dash, reader: Reader) -> None:
    @app.callback(
        Output("page", "children"),
        Output("selection", "data"),
        Output("view", "data"),
        Output("query", "data"),
        Input("address", "pathname"),
        Input("address", "search"),
        Input("returned", "data"),
    )
    def _show_page(pathname: str | None, search: str | None, returned: list[str]) -> Any:
        # The address as Dash knows it misses what the page's script wrote; that says so when the reader goes back.
        address = returned[0] if ctx.triggered_id == "returned" and returned else f"{pathname or '/'}{search or ''}"
        try:
            state = from_address(address)
            content = page_of(reader, state)
        except (AddressError, UnavailableError, EvolveError) as error:
            return frame.problem(str(error)), "", view_state_of(PageState()), ""
        return content, formatting.spans(state.selected), view_state_of(state), state.query


def page_of(reader: Reader, state: PageState) -> list[Any]:
    """The frame of the page that a state names; its panels fill later.

    Raises:
        UnavailableError: There is no such page, or what it is about cannot be read.
    """
    if state.page == "/":
        return [frame.heading("Studies", details=[reader.where]), *frame.sections(STUDIES)]
    if state.page == "/study":
        whole = reader.study(state.study)
        if single_trial(whole) is None:
            return study.page(whole, state)
    if state.page in ("/study", "/trial"):
        view = reader.view(state)
        assert isinstance(view, TrialView)
        return (study.training_page if state.page == "/study" else trial.page)(view, state)
    if state.page == "/compare":
        names = dict.fromkeys(name for name, _ in state.compared)
        return compare.page(state, reader.study_names(), [reader.study(name) for name in names])
    raise UnavailableError(f"There is no page {state.page}; there are /, /study, /trial and /compare.")
