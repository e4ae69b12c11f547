"""What an ablation has shown, for the terminal, for a paper's appendix, and as rows."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from io import StringIO
from pathlib import Path
from textwrap import dedent
from typing import Any

from evolve.ablation.effects import Effect
from evolve.ablation.runs import ArmRun
from evolve.formatting import MISSING, counted, number
from evolve.study import Study
from evolve.study.ablation import BASELINE, Ablation
from evolve.study.arms import ArmPlan
from evolve.study.hyp import write_whole

WIDE = 160  # characters of a line where there is no terminal
_HEADS = ("arm", "n", "mean difference", "95 % interval", "p corrected", "wins", "diverged", "verdict")


@dataclass(frozen=True, slots=True, kw_only=True)
class Shown:
    """What an ablation has come to.

    Attributes:
        study: What was trained.
        ablation: What was compared.
        plan: Its arms and seeds.
        runs: Of every arm and seed.
        effects: Of every arm beside the baseline.
    """

    study: Study
    ablation: Ablation
    plan: ArmPlan
    runs: Sequence[ArmRun]
    effects: Sequence[Effect]

    @property
    def metric(self) -> str:
        """What is compared."""
        return self.ablation.metric

    @property
    def missing(self) -> int:
        """Runs that have not ended."""
        return sum(run.outcome == "missing" for run in self.runs)

    def as_mapping(self) -> dict[str, Any]:
        """For machines."""
        return {
            "study": self.study.name,
            "question": self.ablation.question,
            "metric": self.metric,
            "margin": self.ablation.margin,
            "seeds": list(self.plan.seeds),
            "arms": {arm.name: dict(arm.params) for arm in self.plan.arms},
            "missing": self.missing,
            "effects": [asdict(effect) for effect in self.effects],
            "runs": [asdict(run) for run in self.runs],
        }


def heading(shown: Shown) -> list[str]:
    """The question, and what the numbers are of."""
    ablation = shown.ablation
    question = " ".join((ablation.question or shown.study.description).split())
    of = f"{shown.metric} on the validation images, {counted(len(shown.plan.seeds), 'seed')} paired with the baseline's"
    lines = [f"study   {shown.study.name}: {question}", f"effect  difference in {of}; margin {ablation.margin:g}"]
    values = [run.value for run in shown.runs if run.arm == BASELINE and run.value is not None]
    if values:
        lines.append(f"base    {sum(values) / len(values):.4f}, mean of {counted(len(values), 'run')}")
    if shown.missing:
        lines.append(f"missing {shown.missing} of {counted(len(shown.runs), 'run')}: all that follows may change")
    return lines


def table_text(shown: Shown, *, width: int | None) -> str:
    """Question, effects as a table, and a sentence for each arm.

    Args:
        shown: What there is to show.
        width: Characters of a line; None where there is no terminal.
    """
    rows = aligned(_HEADS, [_cells(effect) for effect in shown.effects], width=width)
    return "\n".join([*heading(shown), "", *rows, "", *(effect.sentence for effect in shown.effects)])


def aligned(heads: Sequence[str], rows: Sequence[Sequence[str]], *, width: int | None) -> list[str]:
    """Lines of a table, the first and the last column left-aligned, the others right-aligned.

    Args:
        heads: Above the columns.
        rows: A cell for each column.
        width: Characters of a line; None where there is no terminal.
    """
    from rich.box import SIMPLE_HEAD
    from rich.console import Console
    from rich.table import Table

    table = Table(box=SIMPLE_HEAD, pad_edge=False)
    for place, head in enumerate(heads):
        table.add_column(head, justify="left" if place in (0, len(heads) - 1) else "right", overflow="fold")
    for row in rows:
        table.add_row(*row)
    drawn = Console(file=StringIO(), width=width or WIDE, color_system=None, markup=False, highlight=False)
    drawn.print(table)
    assert isinstance(drawn.file, StringIO)
    return [line.rstrip() for line in dedent(drawn.file.getvalue()).splitlines() if line.strip()]


def table_markdown(shown: Shown) -> str:
    """The same as a table of Markdown with a caption, for a paper's appendix."""
    lines = [f"| {' | '.join(_HEADS)} |", f"|{'|'.join(['---', *['---:'] * 6, '---'])}|"]
    lines += [f"| {' | '.join(cell.replace('|', '/') for cell in _cells(effect))} |" for effect in shown.effects]
    return "\n".join([*lines, "", _caption(shown)])


def _caption(shown: Shown) -> str:
    ablation, study = shown.ablation, shown.study
    tuned = f", the nuisance tuned by {shown.plan.tuning} settings an arm" if shown.plan.tuning else ""
    return (
        f"Difference in {shown.metric} from the baseline on {study.data}, {study.model} at {study.image_size} px, "
        f"{counted(study.epochs, 'epoch')}{tuned}; means over {counted(len(shown.plan.seeds), 'seed')}, paired, with "
        f"95 % t intervals, p by permutation, corrected over {counted(len(shown.effects), 'arm')} (Holm). A run that "
        f"diverged loses its pair. Margin {ablation.margin:g}."
    )


def _cells(effect: Effect) -> tuple[str, ...]:
    return (
        effect.arm,
        str(effect.n_pairs),
        _signed(effect.mean),
        f"{_signed(effect.low)} to {_signed(effect.high)}" if effect.low == effect.low else MISSING,
        number(effect.p_corrected),
        f"{effect.wins} of {effect.num_seeds}",
        f"{effect.diverged} (baseline {effect.baseline_diverged})",
        str(effect.verdict),
    )


def _signed(value: float) -> str:
    return f"{value:+.4f}" if value == value else number(value)


def write_rows(shown: Shown, path: Path) -> None:
    """Writes the effects as a table of commas, a row an arm, whole or not at all.

    Raises:
        HypError: It cannot be written.
    """
    text = StringIO()
    rows = [asdict(effect) for effect in shown.effects]
    writer = csv.DictWriter(text, fieldnames=list(rows[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    write_whole(path, text.getvalue())
