"""What an ablation has shown, for the terminal, for a paper's appendix, and as rows."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from dataclasses import asdict
from io import StringIO
from pathlib import Path
from typing import Any

from evolve.ablation.compared import Compared
from evolve.ablation.effects import Effect
from evolve.ablation.verdicts import coverage_text
from evolve.commands import share_text
from evolve.commands.aligning import aligned, interval, markdown_table, signed
from evolve.formatting import counted, number
from evolve.study.ablation import BASELINE
from evolve.study.hyp import write_whole
from evolve.study.naming import data_name

_HEADS = ("arm", "n", "mean difference", "95 % interval", "p corrected", "wins", "diverged", "verdict")


def as_mapping(found: Compared) -> dict[str, Any]:
    """The ablation with its effects and runs as plain values, for machines."""
    shares = found.shares()
    return {
        "study": found.study.name,
        "question": found.ablation.question,
        "metric": found.metric,
        "margin": found.ablation.margin,
        "seeds": list(found.plan.seeds),
        "arms": {arm.name: dict(arm.params) for arm in found.plan.arms},
        "tuned": [asdict(tuned) | {"at_an_end": list(tuned.at_an_end)} for tuned in found.tuned],
        "looks": _looks(found),
        "missing": found.missing,
        "effects": [asdict(effect) for effect in found.effects],
        "shares": None if shares is None else asdict(shares),
        "runs": [asdict(run) for run in found.runs],
    }


def _looks(found: Compared) -> dict[str, Any] | None:
    if not found.plan.looks:
        return None
    endings = [asdict(ending) for ending in found.standing.endings.values()]
    return {"seeds": list(found.plan.looks), "look": found.standing.look, "endings": endings}


def heading(found: Compared) -> list[str]:
    """The question, and what the numbers are of."""
    question = found.question or " ".join(found.study.description.split())
    of = f"{found.metric} on the validation images, {counted(len(found.plan.seeds), 'seed')} paired with the baseline's"
    lines = [f"study   {found.study.name}: {question}", f"effect  difference in {of}; margin {found.ablation.margin:g}"]
    values = [run.value for run in found.runs if run.arm == BASELINE and run.value is not None]
    if values:
        lines.append(f"base    {sum(values) / len(values):.4f}, mean of {counted(len(values), 'run')}")
    if found.missing:
        lines.append(f"missing {found.missing} of {counted(len(found.runs), 'run')}: all that follows may change")
    lines += tuned_lines(found)
    if found.plan.looks:
        lines.append(f"looks   {found.standing.look_text}")
        lines += [f"ended   {ending}" for ending in found.endings]
    return lines


def tuned_lines(found: Compared) -> list[str]:
    """What the arms were tuned to, and what to change where that is at an end of what was tried."""
    edges = [f"edge    {tuned.advice}" for tuned in found.tuned if tuned.at_an_end]
    return [*(f"tuned   {tuned.text}" for tuned in found.tuned), *edges]


def table_text(found: Compared, *, width: int | None) -> str:
    """Question, effects as a table, and a sentence for each arm.

    Args:
        found: The ablation that is shown.
        width: Characters of a line; None where there is no terminal.
    """
    rows = aligned(_HEADS, [_cells(effect) for effect in found.effects], left=(0, 7), width=width)
    sentences = [effect.sentence for effect in found.effects]
    shares = found.shares()
    shared = [] if shares is None else ["", *share_text.lines(shares, metric=found.metric, width=width)]
    covered = [text] if (text := coverage_text(found.effects)) else []
    return "\n".join([*heading(found), "", *rows, "", *sentences, *covered, *shared])


def table_markdown(found: Compared) -> str:
    """The effects as a table of Markdown with a caption, for a paper's appendix."""
    lines = [*markdown_table(_HEADS, [_cells(effect) for effect in found.effects], left=(0, 7)), "", _caption(found)]
    if (shares := found.shares()) is not None:
        lines += ["", *share_text.markdown_lines(shares, metric=found.metric)]
    return "\n".join(lines)


def _caption(found: Compared) -> str:
    ablation, study = found.ablation, found.study
    tuned = f", the nuisance tuned by {found.plan.tuning} settings an arm" if found.plan.tuning else ""
    trained = f"{data_name(study.data)}, {study.model} at {study.image_size} px"
    return (
        f"Difference in {found.metric} from the baseline on {trained}, "
        f"{counted(study.epochs, 'epoch')}{tuned}; means over {counted(len(found.plan.seeds), 'seed')}, paired, with "
        f"95 % t intervals, p by permutation, corrected over {counted(len(found.effects), 'arm')} (Holm). A run that "
        f"diverged loses its pair. Margin {ablation.margin:g}.{_looked(found)}"
        f"{''.join(f' Tuned to {nuisance.text}.' for nuisance in found.tuned)}"
        f"{f' {text}' if (text := coverage_text(found.effects)) else ''}"
    )


def _looked(found: Compared) -> str:
    if not found.plan.looks:
        return ""
    return f" Sequential: {'; '.join([found.standing.look_text, *found.endings])}."


def _cells(effect: Effect) -> tuple[str, ...]:
    return (
        effect.arm,
        str(effect.n_pairs),
        signed(effect.mean),
        interval(effect.low, effect.high),
        number(effect.shown_p),
        f"{effect.wins} of {effect.num_seeds}",
        f"{effect.diverged} (baseline {effect.baseline_diverged})",
        str(effect.verdict),
    )


def write_rows(found: Compared, path: Path) -> dict[str, Path]:
    """Writes the effects as a table of commas, a row an arm, whole or not at all; beside it the shares if there are.

    Args:
        found: The ablation that is shown.
        path: File of the effects; shares go to the same name with `_shares` behind it.

    Returns:
        The files that were written, by what they hold.

    Raises:
        HypError: One of the files cannot be written.
    """
    tables = {"csv": (path, [asdict(effect) for effect in found.effects])}
    if (shares := found.shares()) is not None:
        tables["shares"] = (path.with_stem(f"{path.stem}_shares"), [*share_text.rows(shares)])
    for file, rows in tables.values():
        write_whole(file, _with_commas(rows))
    return {kind: file for kind, (file, _) in tables.items()}


def _with_commas(rows: Sequence[dict[str, Any]]) -> str:
    text = StringIO()
    writer = csv.DictWriter(text, fieldnames=list(rows[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()
