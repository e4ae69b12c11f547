"""Which hyperparameters matter?"""

from __future__ import annotations

import plotly.graph_objects as go

from dashboards.blocks import Empty, Prose
from dashboards.data.shown import none_finished
from dashboards.data.study import StudyView
from dashboards.data.trial_sets import finished
from dashboards.figures import theme
from dashboards.questions.panel import Block, Panel
from evolve import analysis
from evolve.analysis import Importances


def rows(view: StudyView) -> Importances | Empty:
    """Shares of importance of the hyperparameters, over the trials that ran to their end."""
    trials = finished(view.trials)
    params = [
        {str(name): value for name, value in row.items() if not _is_missing(value)}
        for row in view.params.astype(object).reindex(trials["number"]).to_dict("records")
    ]
    found = analysis.importances(params, [float(value) for value in trials["fitness"]], view.distributions)
    if trials.empty and not view.left_out.empty:
        return none_finished(view, "")
    if found.reason:
        return Empty(f"No importances yet: {found.reason}. Give the study a larger budget of trials and run it again.")
    return found


def _is_missing(value: object) -> bool:
    return value is None or (isinstance(value, float) and value != value)


def draw(data: Importances) -> go.Figure:
    """Shares as bars, the most important on top."""
    names = [theme.label(name) for name, _ in data.shares]
    shares = [share for _, share in data.shares]
    figure = theme.new_figure(height=90 + 30 * len(names), x="share of importance", y="")
    figure.add_bar(
        x=shares,
        y=names,
        orientation="h",
        marker={"color": theme.ACCENT},
        text=[f"{share:.0%}" for share in shares],
        textposition="outside",
        cliponaxis=False,
        hovertemplate="%{y} %{x:.1%}<extra></extra>",
    )
    figure.update_layout(
        xaxis={"tickformat": ".0%", "range": [0, max(shares) * 1.12]},
        yaxis={"autorange": "reversed", "type": "category", "showgrid": False},
        bargap=0.35,
    )
    return figure


def _blocks(found: Importances) -> tuple[Block, ...]:
    basis = f"Over {found.num_trials:,} trials; the best {found.quantile * 100:.0f} % of them count as best."
    return (Prose(basis), draw(found))


PANEL = Panel(
    key="importances",
    title="Which hyperparameters matter?",
    caption="Share of each hyperparameter in what sets the best trials apart (PED-ANOVA). Trials that diverged do "
    "not count here; the map below is about them.",
    rows=rows,
    blocks=_blocks,
)
