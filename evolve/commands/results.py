"""What a run has come to, as a value: commands print it, and anything else may ask for it."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import typer

from evolve.commands.output import opened_storage, standing_text, write_report
from evolve.errors import EvolveError
from evolve.run.detection import Weights
from evolve.run.events import StudyStopped
from evolve.run.found import Found, found_by
from evolve.run.run import Run


@dataclass(frozen=True, slots=True, kw_only=True)
class RunResult:
    """How a run of a study ended, and what the study has found so far.

    Attributes:
        study: The study's name.
        is_complete: Whether its budget of trials is spent.
        reason: Why the run ended, in words.
        report: The file with the report.
        found: The best trial, verdicts, and the files made of them.
    """

    study: str
    is_complete: bool
    reason: str
    report: Path
    found: Found

    @property
    def files(self) -> dict[str, str]:
        """Everything that was written besides weights, by kind."""
        return {"report": str(self.report), **self.found.files}

    def as_mapping(self) -> dict[str, Any]:
        """The result as plain values, for machines."""
        return {
            "study": self.study,
            "is_complete": self.is_complete,
            "reason": self.reason,
            **self.found.as_mapping(),
            "files": self.files,
        }


def result_of(run: Run, stopped: StudyStopped) -> RunResult:
    """What a run that has ended comes to; writes the report, hyp.yaml and the weights of the best trial.

    Args:
        run: The run that has ended: its study, database, folder and device.
        stopped: The run's last event.
    """
    with opened_storage(run.storage_url, reads_only=True) as opened:
        report = write_report(opened, run.study.name, run.folder / "report.html")
        found = found_by(opened, run.study, run.folder)
    if found.weights and not run.study.space and stopped.is_complete:
        found = replace(found, files=found.files | _measured(run, best_of(found.weights)))
    return RunResult(
        study=run.study.name, is_complete=stopped.is_complete, reason=stopped.reason, report=report, found=found
    )


def _measured(run: Run, weights: Weights) -> dict[str, str]:
    """The page of a training's best weights on its validation images, by its kind; none where they cannot be used."""
    from dashboards.validation_page import write_validation
    from evolve.run.detection import choose_device
    from evolve.run.using import opened_detector
    from evolve.run.validating import Validating

    study = run.study
    try:
        detector = opened_detector(weights.path, choose_device(run.device))
        on = Validating(detector, study.data, split="val", nms_iou=None, skip_unreadable=study.skip_unreadable)
        return {"val": str(write_validation(on.result(weights.path, on.batches()), run.folder / "val.html"))}
    except EvolveError as error:
        typer.echo(f"note    not measured: {error}", err=True)
        return {}


def best_of(weights: Sequence[Weights]) -> Weights:
    """The weights of the best epoch of the best seed, of at least one file."""
    return max(weights, key=lambda kept: (kept.what == "best", kept.map50))


def result_text(result: RunResult, *, nms_iou: float, storage: str) -> str:
    """The end of a run in lines for people.

    Args:
        result: What the run has come to.
        nms_iou: Overlap, in 0..1, at which suppression joined boxes when the metrics were measured.
        storage: The database as it was named, for the command that tells more.
    """
    found = result.found
    verdicts = ", ".join(f"{count} {verdict}" for verdict, count in found.verdicts.items())
    lines = [f"study   {result.study}: {verdicts or 'no trial ended'}"]
    if found.grounded is not None:
        lines.append(f"nothing {found.grounded.text}")
        remedies = found.grounded.remedies
        lines += [f"change  {remedy.option} {remedy.value}: {remedy.reason}" for remedy in remedies]
    elif best := found.best:
        params = ", ".join(f"{k} {v:.4g}" if isinstance(v, float) else f"{k} {v}" for k, v in best.params.items())
        spread = f", {best.spread}" if best.spread else ""
        of = f"  ({params})" if params else ""
        among = f", {best.among}" if best.among else ""
        lines.append(f"best    trial {best.number}{among}: fitness {best.fitness:.4f}{spread}{of}")
        for split, metrics in best.metrics.items():
            words = ", ".join(f"{name} {value:.3f}" for name, value in metrics.items())
            seeds = f"mean of {best.seeds} seeds; " if best.seeds > 1 else ""
            lines.append(f"{split:<8}{words}  ({seeds}suppression at IoU {nms_iou:g})")
    lines += [f"{kind:<8}{path}" for kind, path in result.files.items()]
    if (taken := found.taken) is not None and taken.arm is not None:
        lines.append(f"proof   hyp.yaml is of {taken.arm.name}: {taken.arm.said}")
    elif taken is not None and taken.standing.text:
        lines.append(f"proof   {standing_text(taken.standing, storage)}")
    lines += [f"note    no weights from {problem}" for problem in found.problems]
    return "\n".join([*lines, *_weights_lines(found.weights)])


def uses_of(weights: Sequence[Weights], data: str) -> list[str]:
    """Commands that use the best of the weights; none where there are none.

    Args:
        weights: Files of weights that a training has written; may be empty.
        data: Name or path of the data that it was trained on.
    """
    if not weights:
        return []
    best = str(best_of(weights).path)
    ways = ["val", best, "--data", data], ["detect", best, "IMAGES"], ["weights", best, "--to", "onnx"]
    return [shlex.join(["evolve", *words]) for words in ways]


def _weights_lines(weights: Sequence[Weights]) -> list[str]:
    lines = []
    for kept in weights:
        seed = f"seed {kept.seed}, " if len({file.seed for file in weights}) > 1 else ""
        lines.append(
            f"weights {kept.path}  ({seed}{kept.what} epoch {kept.epoch}, val map50 {kept.map50:.3f}, averaged)"
        )
    if weights:
        lines.append(f'load    detector.load_detector("{weights[0].path}")')
    return lines
