"""Where do the differences between equal trainings come from?"""

from __future__ import annotations

import json

import plotly.graph_objects as go

from dashboards.blocks import Column, Empty, Prose, Table, Tile, Tiles, VerdictCounts
from dashboards.data.arms import FILTERED, trainings_in
from dashboards.data.study import StudyView
from dashboards.data.trial_sets import VERDICTS, started
from dashboards.figures import theme
from dashboards.questions.headline import training_seconds
from dashboards.questions.panel import Block, Panel
from evolve.ablation.crossed import NoiseFound, noise_found
from evolve.ablation.noise import NoiseShares
from evolve.formatting import counted, duration
from evolve.study import Study


def rows(view: StudyView) -> NoiseFound | Empty:
    """The shares of a study of noise, or why there are none."""
    if not view.left_out.empty:
        return Empty(FILTERED)
    found = noise_found(Study.from_json(json.dumps(dict(view.facts.config))), trainings_in(view))
    return found if found.shares is not None else Empty(f"No shares yet: {found.reason}.")


def summary_rows(view: StudyView) -> tuple[Block, ...]:
    """What was crossed, and how much equal trainings differ."""
    found = rows(view)
    trained = view.trainings
    lost = int((trained["verdict"] == "diverged").sum())
    counts = tuple((verdict, int(count)) for verdict in VERDICTS if (count := (trained["verdict"] == verdict).sum()))
    tiles = [
        Tile(label="trainings", value=f"{len(trained):,}", detail="all with the same hyperparameters"),
        Tile(label="diverged", value=f"{lost:,}", detail=f"of {counted(len(trained), 'training')}"),
        Tile(label="training time", value=duration(training_seconds(started(view.trials))), detail="together"),
    ]
    if not isinstance(found, Empty) and (shares := found.shares) is not None:
        spread = f"up to {shares.deviation_high:.3f} (95 %)"
        tiles = [
            Tile(label="fitness varies by", value=f"{shares.deviation:.3f}", detail=f"standard deviation, {spread}"),
            Tile(label="smallest difference", value=f"{shares.floor:.3f}", detail="of two single trainings"),
            *tiles,
        ]
    description = view.facts.text("description")
    said = found if isinstance(found, Empty) else Prose(found.text)
    return (
        *((Prose(description),) if description else ()),
        said,
        Tiles(tuple(tiles)),
        VerdictCounts(counts, of="training"),
    )


def draw(data: NoiseShares) -> go.Figure:
    """The share of each source with its interval, top to bottom."""
    shares = data.shares
    figure = theme.new_figure(height=110 + 36 * len(shares), x="share of the variance of a training", y="")
    figure.add_bar(
        x=[share.share for share in shares],
        y=[share.source for share in shares],
        orientation="h",
        marker={"color": theme.ACCENT},
        error_x={
            "type": "data",
            "symmetric": False,
            "array": [max(share.high - share.share, 0.0) for share in shares],
            "arrayminus": [max(share.share - share.low, 0.0) for share in shares],
            "color": theme.NEUTRAL,
            "width": 5,
        },
        hovertemplate="%{y} %{x:.0%}<extra></extra>",
    )
    figure.update_layout(
        showlegend=False,
        xaxis={"tickformat": ".0%", "range": [0, 1.02]},
        yaxis={"autorange": "reversed", "type": "category", "showgrid": False},
        bargap=0.35,
    )
    return figure


def _blocks(found: NoiseFound) -> tuple[Block, ...]:
    assert found.shares is not None
    return draw(found.shares), _table(found.shares)


def _table(found: NoiseShares) -> Table:
    return Table(
        name="noise",
        columns=(
            Column(title="source"),
            Column(title="share", kind="number", digits=2),
            Column(title="from", kind="number", unit="95 %", digits=2),
            Column(title="to", kind="number", unit="95 %", digits=2),
            Column(title="deviation", kind="number", unit="of fitness", digits=4),
        ),
        rows=tuple((share.source, share.share, share.low, share.high, share.deviation) for share in found.shares),
    )


HEADLINE = Panel(key="summary", title="Summary", rows=summary_rows)

PANEL = Panel(
    key="noise",
    title="Where do the differences between equal trainings come from?",
    caption="Shares of the variance over a crossed run: every seed of a source with every seed of the others, all else "
    "equal. The rest is what sources do together and what repeats would differ by. Lines are 95 % intervals, wide with "
    "three seeds of a source.",
    rows=rows,
    blocks=_blocks,
)
