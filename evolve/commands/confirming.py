"""The command that trains the best of a search again, with seeds that it has not used."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Annotated

import typer

from evolve.commands.defining import device_of, run_of
from evolve.commands.options import (
    DEFAULT_STORAGE,
    RUNS,
    AcceptDataOption,
    AddressOption,
    DeviceOption,
    EngineOption,
    EpochsOption,
    JsonOption,
    LanesOption,
    StorageOption,
    StudyName,
    WorkersOption,
)
from evolve.commands.output import chosen_study, opened_storage, say, say_next, terminal_width, write_report
from evolve.commands.training import print_plan, trained
from evolve.run.crew import Asked
from evolve.study.confirming import LEAST_SEEDS, MOST_CANDIDATES, MOST_SEEDS, SEEDS, TOP

if TYPE_CHECKING:
    from evolve.confirmed import Confirmation
    from evolve.run.run import Run
    from evolve.study import Study


def confirm(
    study: StudyName,
    top: Annotated[
        int, typer.Option("--top", min=1, max=MOST_CANDIDATES, help="Best trials that are trained again.")
    ] = TOP,
    seeds: Annotated[
        int, typer.Option("--seeds", min=LEAST_SEEDS, max=MOST_SEEDS, help="Number of seeds, new ones, of each.")
    ] = SEEDS,
    epochs: EpochsOption = None,
    plan: Annotated[bool, typer.Option("--plan", help="Print candidates, seeds and cost; train nothing.")] = False,
    accept_changed_data: AcceptDataOption = False,
    device: DeviceOption = "auto",
    engine: EngineOption = "auto",
    workers: WorkersOption = None,
    lanes: LanesOption = None,
    address: AddressOption = "",
    storage: StorageOption = DEFAULT_STORAGE,
    as_json: JsonOption = False,
) -> None:
    """Train a study's best trials and its defaults again, with seeds that it has not used: how much of it was luck?

    Run again to go on; where all is trained, the answer comes at once.

    Example: `evolve confirm lr_sweep --plan`, `evolve confirm my_data-photos --top 2 --seeds 7`
    """
    from evolve.commands.confirm_text import confirmation_text
    from evolve.run.confirming import confirming_study
    from evolve.storage.confirmations import read_confirmation

    with opened_storage(storage, reads_only=True) as opened:
        name = chosen_study(opened.engine, study)
        confirming = confirming_study(opened, name, top=top, seeds=seeds, epochs=epochs)
        found = read_confirmation(opened.engine, confirming)
    files: dict[str, str] = {}
    if plan or not found.is_complete:
        asked = Asked(engine=engine, workers=workers, lanes=lanes, address=address)
        device = device_of(device, training=None if plan else asked)
        run = _run(confirming, name, storage, device, asked, accepts=accept_changed_data)
        if plan:
            print_plan(run, as_json=as_json, notes=[_decides_text(confirming)])
            return
        found, files = _trained(run, name)

    def text() -> str:
        lines = [confirmation_text(found, width=terminal_width())]
        return "\n".join([*lines, *(f"{kind:<8}{file}" for kind, file in files.items())])

    say(found.as_mapping() | {"files": files}, as_json=as_json, text=text)
    say_next(["evolve", "export" if found.is_complete else "confirm", name], as_json=as_json, storage=storage)
    if not found.is_complete or found.best is None:
        raise typer.Exit(1)


def _run(study: Study, search: str, storage: str, device: str, asked: Asked, *, accepts: bool) -> Run:
    """A run of the confirmation, on the data that the search was trained on unless others are accepted."""
    from evolve.run.confirming import checked_as_searched

    checked = None
    if not accepts:
        with opened_storage(storage, reads_only=True) as opened:
            checked = checked_as_searched(opened, search, study)
    return replace(run_of(study, storage, device, asked, checked), accepts_changed_data=accepts)


def _decides_text(study: Study) -> str:
    """How many seeds could tell the candidates from the defaults."""
    from evolve.formatting import counted
    from evolve.study.arms import least_seeds

    num_arms = study.budget.trials - 1
    least = least_seeds(num_arms)
    can = "can" if len(study.seeds) >= least else "cannot"
    return (
        f"seeds: {len(study.seeds)} give each a mean with its interval, and {can} tell "
        f"{counted(num_arms, 'candidate')} from the defaults by a corrected p below 0.05: {least} or more can"
    )


def _trained(run: Run, search: str) -> tuple[Confirmation, dict[str, str]]:
    """Trains what is missing; what that comes to, and the files that were written."""
    from evolve.commands.results import result_of
    from evolve.run.found import export_hyp
    from evolve.storage.confirmations import read_confirmation

    stopped = trained(run)
    typer.echo(f"ended   {stopped.reason}", err=True)
    files = {kind: file for kind, file in result_of(run, stopped).files.items() if kind != "hyp"}
    with opened_storage(run.storage_url, reads_only=True) as opened:
        found = read_confirmation(opened.engine, run.study)
        if found.best is not None and found.best.again.mean >= run.study.thresholds.floor:
            hyp, report = RUNS / search / "hyp.yaml", RUNS / search / "report.html"
            export_hyp(opened, search, hyp)
            files |= {"hyp": str(hyp), "report": str(write_report(opened, search, report))}
    return found, files
