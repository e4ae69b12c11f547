"""The panels of each page: a question, the rows that answer it, and the picture of those rows.

A panel is one pure function from a study to rows, one from rows to blocks, and one line in its page's list. The page
decides how a block is drawn; a panel does not know it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Generic, TypeAlias, TypeVar

import plotly.graph_objects as go

from dashboards.figures import curves as curve_figures
from dashboards.figures import divergence as divergence_figures
from dashboards.figures import landscape as landscape_figures
from dashboards.figures import search as search_figures
from dashboards.views import curves, divergence, landscape, search, tables
from dashboards.views.blocks import Disclosure, Empty, Key, Prose, Table, Tiles, VerdictCounts, VerdictMark
from dashboards.views.curves import Convergence, Losses
from dashboards.views.landscape import Parallel
from dashboards.views.search import DivergenceMap
from dashboards.views.study import StudyView, drawn_numbers
from dashboards.views.tables import DataCheck, Headline
from evolve.analysis import Importances

Block: TypeAlias = go.Figure | Table | Prose | Empty | Disclosure | Tiles | VerdictCounts | VerdictMark | Key
Rows = TypeVar("Rows")


@dataclass(frozen=True, slots=True, kw_only=True)
class Panel(Generic[Rows]):
    """One section of a page.

    Attributes:
        key: Unique on a page; its anchor.
        title: What is shown.
        caption: How to read it.
        rows: From what the page is about, such as a study, to the rows shown, or why there are none.
        blocks: From those rows to what is drawn, top to bottom.
        follows_selection: Whether the rows depend on which trials are selected; other pictures only mark them.
        has_pair: Whether the rows depend on the chosen pair of hyperparameters.
        has_points: Whether each trial is a point, so that a choice of them is drawn where they are very many.
    """

    key: str
    title: str
    caption: str
    rows: Callable[[Any], Rows | Empty]
    blocks: Callable[[Rows], tuple[Block, ...]]
    follows_selection: bool = False
    has_pair: bool = False
    has_points: bool = False

    def draw(self, view: object) -> tuple[Block, ...]:
        """What the panel shows."""
        found = self.rows(view)
        if isinstance(found, Empty):
            return (found,)
        # At the end, so that a picture keeps its name when the study grows.
        return self.blocks(found) + (_choice_note(view) if self.has_points else ())


def _choice_note(view: object) -> tuple[Block, ...]:
    assert isinstance(view, StudyView)
    drawn, whole = len(drawn_numbers(view)), len(search.started(view.trials))
    if drawn == whole:
        return ()
    return (
        Prose(
            f"{drawn:,} of {whole:,} trials are drawn: the best, all rare outcomes and an even choice of the others. A "
            "filter draws those that pass; CSV has all."
        ),
    )


def single(draw: Callable[[Any], go.Figure]) -> Callable[[Any], tuple[Block, ...]]:
    """Blocks of a picture."""
    return lambda rows: (draw(rows),)


def as_they_are(blocks: Block | tuple[Block, ...]) -> tuple[Block, ...]:
    """Blocks of rows that are blocks already."""
    return blocks if isinstance(blocks, tuple) else (blocks,)


def _headline(found: Headline) -> tuple[Block, ...]:
    return (*found.sentences, found.tiles, found.counts, found.setting)


def _convergence(found: Convergence) -> tuple[Block, ...]:
    figure = curve_figures.convergence(found)
    if len(found.curves) == found.num_curves:
        return (figure,)
    shown = f"{len(found.curves):,} of {found.num_curves:,} trials are drawn, spread over the ranks of each verdict."
    return (Prose(shown), figure)


def _map(found: DivergenceMap) -> tuple[Block, ...]:
    return (*(Prose(sentence) for sentence in found.sentences), search_figures.divergence_map(found))


def _importances(found: Importances) -> tuple[Block, ...]:
    basis = f"Over {found.num_trials:,} trials; the best {found.quantile * 100:.0f} % of them count as best."
    return (Prose(basis), search_figures.importances(found))


def _parallel(found: Parallel) -> tuple[Block, ...]:
    shown = len(found.places)
    notes = [] if shown == found.num_trials else [f"{shown:,} of {found.num_trials:,} trials are drawn"]
    notes += [f"{found.num_left_out} more hyperparameters have no room here"] if found.num_left_out else []
    figure = landscape_figures.parallel(found)
    return (Prose(f"{'; '.join(notes).capitalize()}."), figure) if notes else (figure,)


def _losses(found: Losses) -> tuple[Block, ...]:
    told = curves.not_finite_text(found.not_finite)
    return (curve_figures.losses(found), *([Prose(told)] if told else []))


def _data_check(found: DataCheck) -> tuple[Block, ...]:
    findings = () if found.findings is None else (found.findings,)
    return (*as_they_are(found.summary), found.note, *findings)


REPORT: tuple[Panel[Any], ...] = (
    Panel(
        key="summary",
        title="Summary",
        caption="",
        rows=tables.headline,
        blocks=_headline,
    ),
    Panel(
        key="history",
        title="Did the search get better?",
        caption="Every trial in the order it was asked for. The line is the best fitness of all trials so far that ran "
        "to their end; trials without a fitness stand in the rows beneath.",
        rows=search.history,
        blocks=single(search_figures.history),
        has_points=True,
    ),
    Panel(
        key="convergence",
        title="How did trials converge?",
        caption="Average precision on the validation images after each epoch, mean over the seeds of a trial. A curve "
        "that still rises at its end was trained too short. The strip beneath has a cross for every trial that "
        "diverged, where it did.",
        rows=curves.convergence,
        blocks=_convergence,
        follows_selection=True,
    ),
    Panel(
        key="slices",
        title="Which settings are good?",
        caption="Fitness against each hyperparameter. Dotted lines are the ends of the range that was searched: where "
        "the best trials crowd at one, widen it.",
        rows=search.slices,
        blocks=search_figures.slices,
        has_points=True,
    ),
    Panel(
        key="importances",
        title="Which hyperparameters matter?",
        caption="Share of each hyperparameter in what sets the best trials apart (PED-ANOVA). Trials that diverged do "
        "not count here; the map below is about them.",
        rows=search.importance,
        blocks=_importances,
    ),
    Panel(
        key="parallel",
        title="What do good settings have in common?",
        caption="A line is a trial that ran to its end, brighter where its fitness is higher. On the live page, drag "
        "over a part of an axis to select the trials that pass there.",
        rows=landscape.parallel,
        blocks=_parallel,
        follows_selection=True,
    ),
    Panel(
        key="contour",
        title="Fitness over two hyperparameters",
        caption="A weighted mean of the trials nearby; empty where none is near or most of those diverged, marked by "
        "crosses. It hides what other hyperparameters did, so read it with the pictures above.",
        rows=landscape.contour,
        blocks=single(landscape_figures.contour),
        has_pair=True,
        has_points=True,
    ),
    Panel(
        key="map",
        title="Where does training diverge?",
        caption="Brighter is better; crosses diverged.",
        rows=search.divergence_map,
        blocks=_map,
        has_pair=True,
        has_points=True,
    ),
    Panel(
        key="diverged",
        title="Why did they diverge?",
        caption="The step whose loss or gradient was no longer a number, and what was seen before it. Steps and epochs "
        "count from 0, scales from the coarsest grid.",
        rows=divergence.diverged_blocks,
        blocks=as_they_are,
    ),
    Panel(
        key="approach",
        title="The last steps before divergence",
        caption="A few of those trials, from the earliest to the latest to diverge, all on logarithmic axes. Dashed: "
        "the limit above which trouble is near. Dotted: the first warning sign. A cross: not finite.",
        rows=divergence.approaches,
        blocks=divergence_figures.approaches,
    ),
    Panel(
        key="losses",
        title="Do training and validation loss agree?",
        caption="A validation loss that turns upwards while the training loss falls is over-fitting. Training loss is "
        "measured on augmented images, so it may lie above.",
        rows=curves.losses,
        blocks=_losses,
    ),
    Panel(
        key="loss-terms",
        title="Which term of the loss?",
        caption="The same, for the terms the loss is the sum of: blue is the best trial, grey the median; solid lines "
        "are training, dashed ones validation.",
        rows=curves.loss_terms,
        blocks=curve_figures.loss_terms,
    ),
    Panel(
        key="schedule",
        title="Learning rate and momentum as applied",
        caption="What the optimizer was given at each step, warm-up included; each different curve is drawn once.",
        rows=curves.schedules,
        blocks=curve_figures.schedules,
    ),
    Panel(
        key="seeds",
        title="Is the best trial better than the next?",
        caption="The best trials with each of their seeds. Where intervals overlap widely, the order may be luck.",
        rows=search.seed_spread,
        blocks=single(search_figures.seed_spread),
    ),
    Panel(
        key="timeline",
        title="When did each trial run?",
        caption="From the first step to the last thing known of a trial.",
        rows=landscape.timeline,
        blocks=single(landscape_figures.timeline),
        has_points=True,
    ),
    Panel(
        key="trials",
        title="All trials",
        caption="",
        rows=tables.trials_table,
        blocks=as_they_are,
    ),
    Panel(
        key="failures",
        title="Trials that failed",
        caption="",
        rows=tables.failures,
        blocks=as_they_are,
    ),
    Panel(
        key="events",
        title="What else happened?",
        caption="Workers that were lost, checkpoints that could not be used, data that changed. What was lost that way "
        "was trained again.",
        rows=tables.events,
        blocks=as_they_are,
    ),
    Panel(
        key="data",
        title="The data",
        caption="What the data set holds, and what its check clipped or left out.",
        rows=tables.data_check,
        blocks=_data_check,
    ),
    Panel(
        key="setup",
        title="What was asked",
        caption="",
        rows=tables.setup,
        blocks=as_they_are,
    ),
    Panel(
        key="environment",
        title="Where it ran",
        caption="",
        rows=tables.environment,
        blocks=as_they_are,
    ),
)
