"""Everything about one trial, in lines for people."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from evolve.commands.trial_table import note_text, value_text
from evolve.outcome.explanations import causes_of, remedies_of
from evolve.storage.trial_rows import Checkpoint, Note, Training, TrialRow

LABEL = 12  # characters before what a line says


def trial_text(row: TrialRow, folder: Path, *, width: int | None) -> str:
    """A trial in words: parameters, verdict and why, metrics, diagnosis, notes and files.

    Args:
        row: Everything that is stored about the trial.
        folder: Run folder of the study, in which its checkpoints are.
        width: Characters of a line, at which long texts go on in the next; None does not break them.
    """
    return "\n".join(line for label, text in _entries(row, folder) for line in _lines(label, text, width))


def checkpoint_text(checkpoint: Checkpoint, folder: Path) -> str:
    """Where a checkpoint is, what it holds, and whether it is still there."""
    path = folder / checkpoint.path
    state = "" if path.exists() else "; removed, as those of all but the best are unless the study keeps them"
    return f"{path}  (seed {checkpoint.seed}, after epoch {checkpoint.epoch}{state})"


def _entries(row: TrialRow, folder: Path) -> Iterator[tuple[str, str]]:
    """Label and text of each line; a line that goes on with the one before has no label."""
    yield "trial", f"{row.number} of study {row.study}"
    yield "verdict", row.verdict
    yield "reason", row.reason
    yield from _labelled("parameters", [f"{name} {value}" for name, value in row.params.items()])
    yield "fitness", "" if row.fitness is None else f"{row.fitness:.4f}"
    yield "trained", "" if row.seconds is None else f"{row.seconds:.1f} s"
    if len(row.trainings) > 1:
        yield from _labelled("trainings", [_training(training) for training in row.trainings])
    yield from _metrics(row)
    if row.diagnosis is not None:
        yield from _labelled("diagnosis", _diagnosis(row.diagnosis))
        yield from _labelled("causes", [cause.text for cause in causes_of(row.diagnosis)])
        yield from _labelled("remedy", [remedy.text for remedy in remedies_of(row.diagnosis)])
    yield from _labelled("notes", [_note(note) for note in row.notes])
    yield from _labelled("events", list(row.events))
    yield from _labelled("checkpoints", [checkpoint_text(checkpoint, folder) for checkpoint in row.checkpoints])
    yield from _labelled("traceback", row.traceback.splitlines())


def _labelled(label: str, texts: list[str]) -> Iterator[tuple[str, str]]:
    for place, text in enumerate(texts):
        yield ("" if place else label), text


def _training(training: Training) -> str:
    seconds = "" if training.seconds is None else f", {training.seconds:.1f} s"
    reason = f": {training.reason}" if training.reason else ""
    return f"seed {training.seed}{seconds}, {training.verdict or 'verdict not kept'}{reason}"


def _metrics(row: TrialRow) -> Iterator[tuple[str, str]]:
    seeds = list(row.by_seed)
    for split, means in row.metrics.items():
        of = [seed for seed in seeds if split in row.by_seed[seed]]
        yield split, _metric_words(means) + (f"  (mean of {len(of)} seeds)" if len(of) > 1 else f"  (seed {of[0]})")
        if len(of) > 1:
            yield from (("", f"{_metric_words(row.by_seed[seed][split])}  (seed {seed})") for seed in of)


def _metric_words(metrics: Mapping[str, float]) -> str:
    return ", ".join(f"{name} {value:.4f}" for name, value in metrics.items())


def _diagnosis(diagnosis: Mapping[str, Any]) -> list[str]:
    """Its numbers; the summary stands as the reason already."""
    facts = {key: value for key, value in diagnosis.items() if key not in ("summary", "causes") and value is not None}
    return [f"{name.replace('_', ' ')} {value_text(value)}" for name, value in facts.items()]


def _note(note: Note) -> str:
    day = datetime.fromtimestamp(note.created, tz=UTC).strftime("%Y-%m-%d")
    return f"{note_text(note.tag, note.text)}  ({note.author + ', ' if note.author else ''}{day})"


def _lines(label: str, text: str, width: int | None) -> list[str]:
    if not text.strip():
        return []
    room = max((width or 0) - LABEL, 20)
    # The lines of a traceback are aligned by their spaces, which breaking would take away.
    broken = [text] if width is None or text.startswith(" ") else textwrap.wrap(text, room) or [text]
    return [f"{head:<{LABEL}}{part}".rstrip() for head, part in zip([label, *[""] * len(broken)], broken, strict=False)]
