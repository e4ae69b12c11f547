"""The command that tries the remedy of each diverged trial."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import typer

from evolve.commands.defining import device_of, run_of
from evolve.commands.options import (
    DEFAULT_STORAGE,
    DeviceOption,
    EngineOption,
    JsonOption,
    StorageOption,
    StudyName,
    WorkersOption,
)
from evolve.commands.output import chosen_study, opened_storage, say, say_next
from evolve.commands.training import trained
from evolve.outcome.cured import cured_share, exact_interval, is_cured, share_text
from evolve.run.crew import Asked

if TYPE_CHECKING:
    from evolve.run.curing import Cured


def cure(
    study: StudyName,
    device: DeviceOption = "auto",
    engine: EngineOption = "auto",
    workers: WorkersOption = None,
    storage: StorageOption = DEFAULT_STORAGE,
    as_json: JsonOption = False,
) -> None:
    """Train each diverged trial of a study again with the remedy of its diagnosis, and count those that are cured.

    They are trials of a study of their own, STUDY-cured; stopped, the same command goes on.

    Example: `evolve cure lr_sweep`
    """
    from evolve.run.curing import cured, prepared

    with opened_storage(storage, must_exist=True) as opened:
        name = chosen_study(opened.engine, study)
        of_cures, cures, left_out = prepared(opened, name)
    for reason in left_out:
        typer.echo(f"note    left out, {reason}", err=True)
    asked = Asked(engine=engine, workers=workers)
    stopped = trained(run_of(of_cures, storage, device_of(device, training=asked), asked, None))
    with opened_storage(storage, reads_only=True) as opened:
        found = cured(opened, of_cures, cures)
    result = _result(name, of_cures.name, found, left_out)
    say(result, as_json=as_json, text=lambda: "\n".join(_lines(name, found)))
    again = ["evolve", "cure", name] if not stopped.is_complete else ["evolve", "report", name]
    say_next(again, as_json=as_json, storage=storage)
    if not stopped.is_complete:
        raise typer.Exit(1)


def _result(name: str, of_cures: str, found: Sequence[Cured], left_out: Sequence[str]) -> dict[str, Any]:
    count, ended = cured_share(trial.verdict for trial in found)
    return {
        "study": name,
        "cures": of_cures,
        "tried": ended,
        "cured": count,
        "interval": list(exact_interval(count, ended)),
        "left_out": list(left_out),
        "trials": [
            {
                "trial": trial.cure.number,
                "cause": trial.cure.cause.cause,
                "remedies": {remedy.name: remedy.value for remedy in trial.cure.cause.remedies},
                "number": trial.number,
                "verdict": trial.verdict,
                "reason": trial.reason,
                "fitness": trial.fitness,
                "is_cured": is_cured(trial.verdict),
            }
            for trial in found
        ],
    }


def _lines(name: str, found: Sequence[Cured]) -> Iterator[str]:
    for trial in found:
        settings = " ".join(remedy.setting for remedy in trial.cure.cause.remedies)
        yield f"trial {trial.cure.number:<4} {trial.verdict:<12} {trial.cure.cause.cause.text}; {settings}"
    count, ended = cured_share(trial.verdict for trial in found)
    yield f"cured   {share_text(count, ended)} of the diverged trials of {name}"
