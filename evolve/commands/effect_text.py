"""What an ablation has shown, for the terminal, for a paper's appendix, and as rows."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from io import StringIO
from pathlib import Path
from typing import Any

from evolve.ablation.effects import Effect
from evolve.ablation.factorial import Attribution
from evolve.ablation.interim import Standing
from evolve.ablation.runs import ArmRun
from evolve.ablation.verdicts import coverage_text
from evolve.commands import share_text
from evolve.commands.aligning import aligned, interval, markdown_table, signed
from evolve.formatting import counted, number
from evolve.study import Study
from evolve.study.ablation import BASELINE, Ablation
from evolve.study.arms import ArmPlan
from evolve.study.hyp import write_whole

_HEADS = ("arm", "n", "mean difference", "95 % interval", "p corrected", "wins", "diverged", "verdict")


@dataclass(frozen=True, slots=True, kw_only=True)
class Shown:
    """What an ablation has come to.

    Attributes:
        study: What was trained.
        ablation: What was compared.
        plan: Its arms and seeds.
        standing: What its runs say, and at which look.
        shares: The gain of all changes, shared out; None where the arms are neither a path nor all combinations.
    """

    study: Study
    ablation: Ablation
    plan: ArmPlan
    standing: Standing
    shares: Attribution | None = None

    @property
    def metric(self) -> str:
        """What is compared."""
        return self.ablation.metric

    @property
    def runs(self) -> tuple[ArmRun, ...]:
        """Of every arm and seed that is trained, or still may be."""
        return self.standing.runs

    @property
    def effects(self) -> tuple[Effect, ...]:
        """Of every arm beside the baseline."""
        return self.standing.effects

    @property
    def missing(self) -> int:
        """Runs that have not ended."""
        return self.standing.missing

    def as_mapping(self) -> dict[str, Any]:
        """For machines."""
        return {
            "study": self.study.name,
            "question": self.ablation.question,
            "metric": self.metric,
            "margin": self.ablation.margin,
            "seeds": list(self.plan.seeds),
            "arms": {arm.name: dict(arm.params) for arm in self.plan.arms},
            "looks": self._looks(),
            "missing": self.missing,
            "effects": [asdict(effect) for effect in self.effects],
            "shares": None if self.shares is None else asdict(self.shares),
            "runs": [asdict(run) for run in self.runs],
        }

    def _looks(self) -> dict[str, Any] | None:
        if not self.plan.looks:
            return None
        endings = [asdict(ending) for ending in self.standing.endings.values()]
        return {"seeds": list(self.plan.looks), "look": self.standing.look, "endings": endings}


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
    if shown.plan.looks:
        lines.append(f"looks   {shown.standing.look_text}")
        lines += [f"ended   {ending.arm}: {ending.text}" for ending in shown.standing.endings.values()]
    return lines


def table_text(shown: Shown, *, width: int | None) -> str:
    """Question, effects as a table, and a sentence for each arm.

    Args:
        shown: What there is to show.
        width: Characters of a line; None where there is no terminal.
    """
    rows = aligned(_HEADS, [_cells(effect) for effect in shown.effects], left=(0, 7), width=width)
    sentences = [effect.sentence for effect in shown.effects]
    shares = [] if shown.shares is None else ["", *share_text.lines(shown.shares, metric=shown.metric, width=width)]
    covered = [text] if (text := coverage_text(shown.effects)) else []
    return "\n".join([*heading(shown), "", *rows, "", *sentences, *covered, *shares])


def table_markdown(shown: Shown) -> str:
    """The same as a table of Markdown with a caption, for a paper's appendix."""
    lines = [*markdown_table(_HEADS, [_cells(effect) for effect in shown.effects], left=(0, 7)), "", _caption(shown)]
    if shown.shares is not None:
        lines += ["", *share_text.markdown_lines(shown.shares, metric=shown.metric)]
    return "\n".join(lines)


def _caption(shown: Shown) -> str:
    ablation, study = shown.ablation, shown.study
    tuned = f", the nuisance tuned by {shown.plan.tuning} settings an arm" if shown.plan.tuning else ""
    return (
        f"Difference in {shown.metric} from the baseline on {study.data}, {study.model} at {study.image_size} px, "
        f"{counted(study.epochs, 'epoch')}{tuned}; means over {counted(len(shown.plan.seeds), 'seed')}, paired, with "
        f"95 % t intervals, p by permutation, corrected over {counted(len(shown.effects), 'arm')} (Holm). A run that "
        f"diverged loses its pair. Margin {ablation.margin:g}.{_looked(shown)}"
        f"{f' {text}' if (text := coverage_text(shown.effects)) else ''}"
    )


def _looked(shown: Shown) -> str:
    if not shown.plan.looks:
        return ""
    ended = [f"{ending.arm}: {ending.text}" for ending in shown.standing.endings.values()]
    return f" Sequential: {'; '.join([shown.standing.look_text, *ended])}."


def _cells(effect: Effect) -> tuple[str, ...]:
    return (
        effect.arm,
        str(effect.n_pairs),
        signed(effect.mean),
        interval(effect.low, effect.high),
        number(effect.p_corrected),
        f"{effect.wins} of {effect.num_seeds}",
        f"{effect.diverged} (baseline {effect.baseline_diverged})",
        str(effect.verdict),
    )


def write_rows(shown: Shown, path: Path) -> dict[str, Path]:
    """Writes the effects as a table of commas, a row an arm, whole or not at all; beside it the shares if there are.

    Args:
        shown: What there is to show.
        path: Of the effects; shares go to the same name with `_shares` behind it.

    Returns:
        The files that were written, by what they hold.

    Raises:
        HypError: One cannot be written.
    """
    tables = {"csv": (path, [asdict(effect) for effect in shown.effects])}
    if shown.shares is not None:
        tables["shares"] = (path.with_stem(f"{path.stem}_shares"), [*share_text.rows(shown.shares)])
    for file, rows in tables.values():
        write_whole(file, _with_commas(rows))
    return {kind: file for kind, (file, _) in tables.items()}


def _with_commas(rows: Sequence[dict[str, Any]]) -> str:
    text = StringIO()
    writer = csv.DictWriter(text, fieldnames=list(rows[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()
