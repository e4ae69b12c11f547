"""What commands that train share: the plan with its cost, and a run that can be watched and stopped."""

from __future__ import annotations

import signal
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import typer

from evolve.commands.again import typed_again, typed_with
from evolve.commands.output import say, say_next

if TYPE_CHECKING:
    from evolve.run.data import DataChecked
    from evolve.run.events import StudyStopped
    from evolve.run.run import Run
    from evolve.study.planning import Advice


def print_plan(run: Run, *, as_json: bool, notes: Sequence[str] = (), is_stored: bool = False) -> None:
    """Prints what a run would do and cost, and what else there is to say of it; `is_stored` as of `trained`."""
    from evolve.commands.plan_text import data_lines, describe, estimate
    from evolve.run.data import survey
    from evolve.run.weight_files import start_text

    study = run.study
    checked = run.checked or survey(study.data, skip_unreadable=study.skip_unreadable).at(study.image_size)
    start = start_text(study, checked.summary["classes"])
    starts = [f"weights  {study.weights}: {start}"] if start else []
    planned = estimate(run)
    lines = [describe(study), *starts, *data_lines(study.data, checked), "", planned.text(), *notes]
    result = {
        "study": study.to_mapping(),
        "data": {key: value for key, value in asdict(checked).items() if key not in ("files", "box_sides")},
        "estimate": planned.as_mapping(),
        "notes": list(notes),
        "advice": [asdict(advice) for advice in _advice(run, checked)],
    }
    say(result, as_json=as_json, text=lambda: "\n".join(lines))
    _say_advice(run, checked, is_stored=is_stored)
    say_next(typed_again(without=("--dry-run", "--plan")), as_json=as_json)


def _advice(run: Run, checked: DataChecked) -> tuple[Advice, ...]:
    from evolve.study.planning import DataFacts, advice

    if run.study.ablation is not None and run.study.ablation.confirms:  # which trains as its search did
        return ()
    return advice(run.study, DataFacts.from_summary(run.study.data, checked.summary))


def _say_advice(run: Run, checked: DataChecked, *, is_stored: bool) -> None:
    """Before anything is trained: what would keep it from learning, and what the mend would cost here."""
    from evolve.study.planning import DataFacts, endless_warmup

    if warning := endless_warmup(run.study, DataFacts.from_summary(run.study.data, checked.summary)):
        typer.echo(f"note    {warning}", err=True)
    if not (found := _advice(run, checked)):
        return
    from evolve.commands.plan_text import estimate
    from evolve.formatting import rough_duration
    from evolve.run.run import mended

    for obstacle in found:
        typer.echo(f"note    {obstacle.reason}: {obstacle.option} {obstacle.value}", err=True)
    seconds = estimate(mended(run, found, checked)).total_seconds
    command = "" if is_stored else typed_with({obstacle.option: obstacle.value for obstacle in found})
    changed = ", with these changes" + (" beside its file and another --name" if is_stored else "")
    typer.echo(f"note    about {rough_duration(seconds)} here{f': {command}' if command else changed}", err=True)


def trained(run: Run, *, is_stored: bool = False) -> StudyStopped:
    """Runs a study, showing on standard error how it gets on, until its budget is spent or it is stopped.

    Args:
        run: The run, which has not begun.
        is_stored: Whether a stored study was named, which the command would not take with other options.
    """
    from rich.console import Console

    from evolve.commands.progress import Progress
    from evolve.run.data import DataChecked
    from evolve.run.events import StudyStopped
    from evolve.run.run import run_study

    console = Console(stderr=True, emoji=False)
    stopped: StudyStopped | None = None
    with _stop_signals() as should_stop, Progress(run.study, console) as progress:
        for event in run_study(run, should_stop=should_stop):
            progress.update(event)
            if isinstance(event, DataChecked):
                _say_advice(run, event, is_stored=is_stored)
            if isinstance(event, StudyStopped):
                stopped = event
    assert stopped is not None
    return stopped


@contextmanager
def _stop_signals() -> Iterator[Any]:
    """A function that tells whether Ctrl-C or a termination has been asked for; the second Ctrl-C is not waited for."""
    asked: list[int] = []

    def note(number: int, _frame: object) -> None:
        if asked:
            raise KeyboardInterrupt
        asked.append(number)
        typer.echo("stopping; unfinished trials go on with the next run (Ctrl-C again to stop at once)", err=True)

    before = {number: signal.signal(number, note) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield lambda: bool(asked)
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
