"""The trials of a study as a table for the terminal, fitted to its width."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from evolve.formatting import parameter
from evolve.storage.trial_rows import TrialRow
from evolve.study.arms import best_text, compared_trials

GAP = "  "
LEAST_REASON = 24  # characters of a reason that hyperparameters leave it


def heading(
    study: str,
    description: str,
    rows: Sequence[TrialRow],
    *,
    more: Sequence[str] = (),
    width: int | None,
) -> str:
    """What the study is to find out, what became of its trials, and what else there is, a line each.

    Args:
        study: Name of the study.
        description: Purpose of the study in words, or empty.
        rows: Rows of all trials of the study.
        more: The last lines; empty ones are left out.
        width: Characters of a line; None for lines that are not cut.
    """
    counts = Counter(row.verdict for row in rows)
    words = ", ".join(f"{count} {verdict}" for verdict, count in counts.most_common())
    lines = [f"study   {study}: {description}" if description else f"study   {study}"]
    lines.append(f"trials  {len(rows)}: {words}" if rows else "trials  none yet")
    return "\n".join(cut(line, width) for line in [*lines, *(line for line in more if line)])


def best_line(rows: Sequence[TrialRow], config: Mapping[str, Any]) -> str:
    """The best trial with its fitness and hyperparameters; empty where none has trained through.

    Args:
        rows: All trials of a study, the best first.
        config: Mapping of the study as it is stored; one that evolve did not make may have no keys.
    """
    compared, among = compared_trials(config), best_text(config)
    best = next((row for row in rows if row.number in compared), None)
    if best is None or not best.is_trained_through:
        return ""
    params = ", ".join(f"{name} {parameter(value)}" for name, value in best.params.items())
    spread = best.spread
    return "".join(
        [
            f"best    trial {best.number}{f', {among}' if among else ''}: fitness {best.fitness:.4f}",
            f", {spread}" if spread else "",
            f"  ({params})" if params else "",
        ]
    )


def trial_table(rows: Sequence[TrialRow], *, limit: int, width: int | None) -> str:
    """The rows as aligned lines, one a trial, then what people noted about them.

    Args:
        rows: Rows of the trials, in the order in which they are shown.
        limit: Number of rows that are shown at most.
        width: Characters of a line: hyperparameters that do not fit are left out and named, reasons are cut at a
            word; None shows all.
    """
    shown = rows[:limit]
    names = list(dict.fromkeys(name for row in rows for name in row.params))
    fixed = [["trial", "verdict", "fitness"], *(_fixed_cells(row) for row in shown)]
    params = {name: [name, *(value_text(row.params.get(name)) for row in shown)] for name in names}
    kept = _fitting(params, _width_of(fixed), width)
    reasons = ["reason", *(" ".join(row.reason.split()) for row in shown)]
    cells = [[*first, *(params[name][line] for name in kept)] for line, first in enumerate(fixed)]
    lines = _aligned(cells, reasons, width)
    if left_out := names[len(kept) :]:
        lines.append(cut(f"left out (--wide and --json show all): {', '.join(left_out)}", width))
    if len(rows) > len(shown):
        lines.append(f"and {len(rows) - len(shown)} more: --limit {len(rows)}")
    notes = [f"  trial {row.number}: {note_text(note.tag, note.text)}" for row in shown for note in row.notes]
    return "\n".join([*lines, *(["notes", *(cut(note, width) for note in notes)] if notes else [])])


def note_text(tag: str, text: str) -> str:
    """A note in one line, its tag before it in brackets."""
    return " ".join([*([f"[{tag}]"] if tag else []), *text.split()])


def cut(text: str, width: int | None) -> str:
    """The text as it is where it fits, else its first words and a sign that there are more."""
    if width is None or len(text) <= width:
        return text
    words = text[: max(width - 1, 0)].rpartition(" ")[0].rstrip()
    # A first word that does not fit by itself is cut inside.
    return f"{words} …" if words.strip() else f"{text[: max(width - 1, 0)]}…"


def value_text(value: object) -> str:
    """A hyperparameter to four digits; empty where a trial has none."""
    return "" if value is None else parameter(value)


def _fixed_cells(row: TrialRow) -> list[str]:
    return [str(row.number), row.verdict, "" if row.fitness is None else f"{row.fitness:.4f}"]


def _width_of(lines: Sequence[Sequence[str]]) -> int:
    columns = zip(*lines, strict=True)
    return sum(max(map(len, column)) + len(GAP) for column in columns)


def _fitting(params: dict[str, list[str]], taken: int, width: int | None) -> list[str]:
    """The first hyperparameters beside which a reason can still be read."""
    kept = []
    for name, column in params.items():
        taken += max(map(len, column)) + len(GAP)
        if width is not None and taken + LEAST_REASON > width:
            break
        kept.append(name)
    return kept


def _aligned(cells: Sequence[Sequence[str]], reasons: Sequence[str], width: int | None) -> list[str]:
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    room = None if width is None else max(width - sum(widths) - len(GAP) * len(widths), 1)
    lines = []
    for line, reason in zip(cells, reasons, strict=True):
        aligned = [
            cell.ljust(widths[column]) if column == 1 else cell.rjust(widths[column])
            for column, cell in enumerate(line)
        ]
        lines.append(GAP.join([*aligned, cut(reason, room)]).rstrip())
    return lines
