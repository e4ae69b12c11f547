"""The command that tries rules which stop trainings on trainings that nobody stopped."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import isfinite
from typing import TYPE_CHECKING, Annotated

import typer

from evolve.commands.options import DEFAULT_STORAGE, JsonOption, StorageOption, StudyName
from evolve.commands.output import chosen_study, opened_storage, say, say_next
from evolve.errors import StudyError
from evolve.formatting import counted

if TYPE_CHECKING:
    from evolve.outcome.backtest import Score
    from evolve.outcome.stop_rules import Recorded
    from evolve.study import Warnings

_HEADS = ("rule", "doomed, stopped", "at", "good, stopped", "best quarter, stopped", "saved", "wasted")


def backtest(
    study: StudyName,
    fit: Annotated[
        float | None,
        typer.Option(
            "--fit",
            min=1e-6,
            max=0.5,
            help="Take levels that a good training exceeds with this probability, from the study's own good ones.",
            show_default=False,
        ),
    ] = None,
    storage: StorageOption = DEFAULT_STORAGE,
    as_json: JsonOption = False,
) -> None:
    """Say what rules would have done to a study's trainings: ours (`pruner: doomed`) and those of other tools.

    Only trainings that came to their own end count, diverged or trained through; limits are 95 % ones.

    Example: `evolve backtest lr_sweep`
    """
    from evolve.outcome.backtest import scores
    from evolve.outcome.stop_rules import rules
    from evolve.storage.recordings import recordings

    with opened_storage(storage, reads_only=True) as opened:
        name = chosen_study(opened.engine, study)
        definition = opened.stored_study(name)
        if definition is None:
            raise StudyError(f"study {name}: was not made by evolve, so none of its steps are stored")
        found = recordings(opened, definition)
    if not found.runs:
        raise StudyError(f"study {name}: no training has come to its own end yet; run it first")
    levels = definition.warnings if fit is None else _fitted(found.runs, fit, definition.warnings)
    rated = scores(rules(levels), found.runs)
    result = {"study": name, "left_out": dict(found.left_out), "warnings": levels.model_dump()}

    def text() -> str:
        count = counted(len(found.runs), "training")
        lines = [f"study   {name}: {count} that nobody stopped{_apart(found.left_out)}", ""]
        return "\n".join([*lines, *_table(rated), *(() if fit is None else _as_yaml(levels))])

    say(result | {"rules": [score.as_json() for score in rated]}, as_json=as_json, text=text)
    say_next(["evolve", "report", name], as_json=as_json, storage=storage)


def _fitted(runs: Sequence[Recorded], wrong: float, before: Warnings) -> Warnings:
    from evolve.outcome.warnings import fitted, largest_sustained

    reached = [largest_sustained(run.steps, before.sustained, run.kind) for run in runs if not run.is_doomed]
    try:
        return fitted(reached, wrong=wrong, sustained=before.sustained, together=before.together)
    except ValueError as error:
        raise StudyError(f"--fit: {error}") from None


def _apart(left_out: Mapping[str, int]) -> str:
    return "".join(f"; {count} {verdict} apart" for verdict, count in sorted(left_out.items()))


def _table(rated: Sequence[Score]) -> list[str]:
    rows = [_HEADS, *((score.rule, *_cells(score)) for score in rated)]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return ["  ".join(f"{cell:<{width}}" for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]


def _cells(score: Score) -> tuple[str, ...]:
    shares = (score.hits.text, _percent(score.stopped_at), score.alarms.text, score.best.text)
    return (*shares, _percent(score.saved), _percent(score.wasted))


def _percent(value: float) -> str:
    return f"{value:.0%}" if isfinite(value) else "-"


def _as_yaml(levels: Warnings) -> list[str]:
    note = "# fitted on these very trainings: what the table says of them flatters"
    return ["", note, "warnings:", *(f"  {name}: {value:g}" for name, value in levels.model_dump().items())]
