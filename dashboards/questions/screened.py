"""What does each change do?"""

from __future__ import annotations

from dashboards.blocks import Column, Empty, Prose, Table
from dashboards.data.searched import search_of
from dashboards.data.study import StudyView
from dashboards.figures.bars import Bar, gain_bars
from dashboards.questions.panel import Block, Panel
from evolve.findings.screening import screened_of
from evolve.formatting import counted, parameter
from evolve.screened import Screened


def rows(view: StudyView) -> Screened | Empty:
    """What the trials of a screening say of its changes so far."""
    search = search_of(view)
    if isinstance(search, Empty):
        return search
    found = screened_of(search.study, search.tried)
    if found is None:
        return Empty("This study screens no changes.")
    if not found.effects:
        known = f"{counted(found.num_trials, 'trial')} trained through or diverged"
        return Empty(f"Nothing can be said yet: {known}, and at least {found.num_needed} must.")
    return found


def bars(found: Screened) -> list[Bar]:
    """A bar for each change, the best first."""
    return [
        Bar(name=effect.change.text, start=0.0, length=effect.difference, low=effect.low, high=effect.high)
        for effect in found.effects
    ]


def _blocks(found: Screened) -> tuple[Block, ...]:
    judges = f"{counted(found.num_trials, 'trial')} judge every change together"
    foretold = f"{found.estimated(found.recommended):.3f}, and {found.own_fitness:.3f} of the study's own values"
    prose = Prose(
        f"{judges}. They recommend {found.advice}: a fitness of {foretold}, by the sum of what each change does, which "
        "is partly luck until fresh seeds confirm it."
    )
    columns = (
        Column(title="change"),
        Column(title="in place of"),
        Column(title="difference", kind="number", digits=4),
        Column(title="from", kind="number", unit="95 %", digits=4),
        Column(title="to", kind="number", unit="95 %", digits=4),
        Column(title="p corrected", kind="number", digits=3),
        Column(title="verdict"),
        Column(title="recommended"),
    )
    lines = tuple(
        (
            *(effect.change.text, parameter(effect.change.own)),
            *(effect.difference, effect.low, effect.high, effect.p),
            *(effect.verdict, "yes" if effect.is_recommended else "no"),
        )
        for effect in found.effects
    )
    return prose, gain_bars(bars(found), metric="fitness"), Table(name="screened", columns=columns, rows=lines)


PANEL = Panel(
    key="screened",
    title="What does each change do?",
    caption="Each change was made in half of the trials, so each bar is of all of them: the fitness with the change "
    "less that without it, with its 95 % interval, not corrected for the number of changes; p and the verdict are "
    "(Bonferroni). What two changes do only together is not in it. A change is recommended where it is better by more "
    "than its standard error.",
    rows=rows,
    blocks=_blocks,
)
