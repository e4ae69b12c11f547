"""What a study has found: its best trial, or that nothing was learned; and the files made of that."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import fmean
from typing import TYPE_CHECKING, Any

from detector.telemetry import METRICS, EpochMetrics
from evolve import formatting
from evolve.analysis import spread_text
from evolve.errors import EvolveError, StorageError
from evolve.outcome.verdict import TRAINED_THROUGH
from evolve.run.detection import Weights, write_weights
from evolve.run.lived import Lived, lived
from evolve.storage.ablations import trainings_of
from evolve.storage.database import Storage
from evolve.study import Study, planning
from evolve.study.arms import best_text
from evolve.study.hyp import training_of, write_hyp

if TYPE_CHECKING:
    from evolve.ablation.chosen import ChosenArm
    from evolve.confirmed import Standing


@dataclass(frozen=True, slots=True, kw_only=True)
class Best:
    """The best trial of a study.

    Attributes:
        number: Number of the trial within the study, from 0.
        params: Values of the searched hyperparameters by name.
        fitness: Mean fitness over the seeds that count on the validation images.
        metrics: Means over the seeds that count of precision, recall, map50 and map50_95 by split.
        seeds: Number of seeds that count: those that trained through.
        spread: How far the fitness can be trusted: its interval over the seeds, the values of two seeds, or that there
            is one seed.
        among: Among which trials it is the best; empty where it is the best of all that trained through.
        lost: Seeds that did not train through, as an arm of an ablation may have some.
    """

    number: int
    params: dict[str, Any]
    fitness: float
    metrics: dict[str, dict[str, float]]
    seeds: int
    spread: str = ""
    among: str = ""
    lost: tuple[int, ...] = ()


def best_of(storage: Storage, study_name: str) -> Best | None:
    """The best trial of a stored study; None where no trial has trained through.

    Where every arm of an ablation has lost a seed, it is that of the arm that is shown to be better all the same.
    """
    number = storage.best(storage.study_id(study_name))
    if number is None and (study := storage.stored_study(study_name)) is not None and study.ablation is not None:
        from evolve.storage.comparisons import chosen_in  # statistics, of no use to a run that trains

        arm = chosen_in(storage, study)
        number = None if arm is None else arm.trial
    return None if number is None else trained_trial(storage, study_name, number)


def trained_trial(storage: Storage, study_name: str, number: int) -> Best:
    """A trial that trained through with one seed or more, as if it were the best of its stored study."""
    study_id = storage.study_id(study_name)
    trial = storage.optuna.get_all_trials(study_id, deepcopy=False)[number]
    trainings = storage.records.trainings(trial._trial_id)
    lost = tuple(seed for seed, training in trainings.items() if training.verdict not in TRAINED_THROUGH)
    by_split = {split: _last_epochs(storage, trial._trial_id, split, lost) for split in ("val", "test")}
    fitness = [training.fitness for seed, training in trainings.items() if seed not in lost]
    study = storage.stored_study(study_name)
    return Best(
        number=number,
        params=trial.params,
        fitness=fmean(fitness) if lost else storage.fitness(study_id)[number],
        metrics={split: _means(last) for split, last in by_split.items() if last},
        seeds=len(by_split["val"]),
        spread=spread_text(fitness),
        among="" if study is None else best_text(study.to_mapping()),
        lost=lost,
    )


def _last_epochs(storage: Storage, trial_id: int, split: str, lost: Collection[int]) -> list[EpochMetrics]:
    by_seed = storage.records.epochs(trial_id, split=split)
    return [epochs[-1] for seed, epochs in by_seed.items() if seed not in lost]


def _means(last: list[EpochMetrics]) -> dict[str, float]:
    return {name: fmean(getattr(epoch, name) for epoch in last) for name in METRICS}


@dataclass(frozen=True, slots=True, kw_only=True)
class Grounded:
    """A study none of whose trials left the ground: there is nothing to train on with.

    Attributes:
        best: The trial that came furthest.
        floor: Fitness below which a training has learned nothing.
        remedies: What to change, the likeliest first.
    """

    best: Best
    floor: float
    remedies: tuple[planning.Advice, ...]

    @property
    def text(self) -> str:
        """What happened, in a sentence."""
        return (
            f"no trial left the ground: the furthest, trial {self.best.number}, reached fitness "
            f"{self.best.fitness:.3f}, below {self.floor:g}"
        )


def grounded(storage: Storage, study: Study, best: Best | None) -> Grounded | None:
    """That nothing was learned, and what to change; None where something was, or nothing has trained through."""
    if best is None or best.fitness >= study.thresholds.floor:
        return None
    summary = storage.data_summary(storage.study_id(study.name))
    remedies: tuple[planning.Advice, ...] = ()
    if "box_sides" in summary:
        remedies = planning.remedies(study, planning.DataFacts.from_summary(study.data, summary))
    return Grounded(best=best, floor=study.thresholds.floor, remedies=remedies)


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """What a study has found so far, written to files.

    Attributes:
        verdicts: Count of trials by verdict.
        best: The best trial, or None where none has trained through.
        grounded: Finding that nothing was learned, and what to change; None where something was, or no trial trained
            through.
        files: Path of the hyp.yaml that was written, under the key `hyp`; empty where nothing was learned.
        weights: Files with the weights of the best trial, or in an ablation of the trial that stands for its arm.
        taken: Whose hyperparameters are in hyp.yaml, and how far they can be trusted; None where there is no hyp.yaml.
        problems: Why there are no weights of a checkpoint that is there, a text for each such checkpoint.
    """

    verdicts: dict[str, int]
    best: Best | None
    grounded: Grounded | None
    files: dict[str, str]
    weights: tuple[Weights, ...]
    taken: Taken | None = None
    problems: tuple[str, ...] = ()

    def as_mapping(self) -> dict[str, Any]:
        """What was found as plain values, for machines."""
        taken = {} if self.taken is None else self.taken.as_mapping()
        return {
            "verdicts": self.verdicts,
            "best": as_json(self.best),
            "advice": [] if self.grounded is None else [asdict(remedy) for remedy in self.grounded.remedies],
            "arm": taken.get("arm"),
            "standing": taken.get("standing", ""),
            "weights": [asdict(kept) | {"path": str(kept.path)} for kept in self.weights],
            "problems": list(self.problems),
        }


def found_by(storage: Storage, study: Study, folder: Path) -> Found:
    """What a study has found; writes hyp.yaml and that trial's weights to its run folder if it learned anything.

    A single training was asked for its weights, so they are written however little it learned.
    """
    best = best_of(storage, study.name)
    nothing = grounded(storage, study, best)
    verdicts = list(storage.verdicts(storage.study_id(study.name)).values())
    files: dict[str, str] = {}
    weights: list[Weights] = []
    problems: list[str] = []
    taken = None
    if best is not None and nothing is None:
        hyp = folder / "hyp.yaml"
        taken = export_hyp(storage, study.name, hyp).taken
        files["hyp"] = str(hyp)
    if best is not None and (nothing is None or not study.space):
        trial = best.number if taken is None or taken.arm is None else taken.arm.trial
        lost = best.lost if taken is None else taken.best.lost
        seeds = [seed for seed in study.seeds_of(trial) if seed not in lost]
        identity = storage.ledger.identity(storage.study_id(study.name))
        weights, problems = write_weights(folder, trial, seeds, identity=identity)
    return Found(
        verdicts={verdict: verdicts.count(verdict) for verdict in sorted(set(verdicts))},
        best=best,
        grounded=nothing,
        files=files,
        weights=tuple(weights),
        taken=taken,
        problems=tuple(problems),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Taken:
    """A trial whose hyperparameters are taken out of a study.

    Attributes:
        study: Study that trained the hyperparameters last: the one that was named, or the one that has confirmed it.
        best: Trial of that study that has the hyperparameters.
        which: Name of that trial for people, as the study that was named calls it.
        standing: How far the hyperparameters can be trusted.
        of: What the trial is to the study, as a line begins with it.
        arm: In an ablation, the arm whose hyperparameters they are, with what is known of it; else None.
    """

    study: Study
    best: Best
    which: str
    standing: Standing
    of: str = "Best of study"
    arm: ChosenArm | None = None

    def as_mapping(self) -> dict[str, Any]:
        """The trial as plain values, for machines."""
        return {
            "best": as_json(self.best),
            "which": self.which,
            "standing": self.standing.text,
            "arm": None if self.arm is None else self.arm.as_mapping(),
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Provenance:
    """Where the best hyperparameters of a study are from.

    Attributes:
        taken: Trial that has them.
        lived: Hyperparameters that the trial's weights were trained with from their first epoch on, which may have
            changed since.
        head: Lines for the head of a file, which say where the hyperparameters are from.
    """

    taken: Taken
    lived: Lived
    head: tuple[str, ...]


def provenance(storage: Storage, study_name: str, *, trial: int | None = None) -> Provenance:
    """Where the best hyperparameters of a stored study are from: of those that are confirmed, where there are any.

    Of an ablation they are those of the best arm that is shown to be better, else of the baseline.

    Args:
        storage: Database that has the study.
        study_name: Name of the study.
        trial: Number of a trial that is taken whatever is best; None for the best.

    Raises:
        EvolveError: There is no such study, or no trial of it has trained through and left the ground; or the one that
            is asked for has not trained through.
    """
    study, best = _best_trained(storage, study_name)
    taken = _taken(storage, study, best, trial)
    through = lived(storage, taken.study, taken.best.number)
    return Provenance(taken=taken, lived=through, head=_head(storage, study_name, taken, through))


def _taken(storage: Storage, study: Study, best: Best, trial: int | None) -> Taken:
    from evolve.confirmed import Standing
    from evolve.storage.confirmations import standing_of  # statistics, of no use to a run that trains

    if trial is not None:
        _check_trained(storage, study, trial)
    if study.ablation is not None and not study.ablation.confirms:
        return _taken_arm(storage, study, trial)
    if trial is not None and trial != best.number:
        said = f"asked for by its number: the best is trial {best.number}, fitness {best.fitness:.4f}"
        own = trained_trial(storage, study.name, trial)
        return Taken(study=study, best=own, which=f"trial {trial}", standing=Standing(said=said), of="Of study")
    standing = standing_of(storage.engine, study.name)
    confirmation, confirmed = standing.confirmation, standing.best
    if trial is None and confirmation is not None and confirmed is not None:
        study, best = _best_trained(storage, confirmation.name)
        return Taken(study=study, best=best, which=confirmed.name, standing=standing)
    return Taken(study=study, best=best, which=f"trial {best.number}", standing=standing)


def _taken_arm(storage: Storage, study: Study, trial: int | None) -> Taken:
    from evolve.confirmed import Standing
    from evolve.storage.comparisons import chosen_in

    arm = chosen_in(storage, study, trial=trial)
    assert arm is not None  # else there is no best
    best, standing = trained_trial(storage, study.name, arm.trial), Standing(said=arm.said)
    return Taken(study=study, best=best, which=arm.name, standing=standing, of="Of ablation", arm=arm)


def _head(storage: Storage, study_name: str, taken: Taken, through: Lived) -> tuple[str, ...]:
    """Lines for the head of a file: what was taken, how good it is and how sure that is, and with what it was found."""
    study, best = taken.study, taken.best
    count = f" of {len(storage.verdicts(storage.study_id(study_name)))}"
    trained = f"{taken.which}{count if study.name == study_name else f', trained again in {study.name}'}"
    seeds = [seed for seed in study.seeds_of(best.number) if seed not in best.lost]
    lost = formatting.listed([str(seed) for seed in best.lost])
    without = f", without {lost} (not trained through)" if best.lost else ""
    facts = storage.environment_of(study.name, best.number)
    return (
        f"{taken.of} {study_name}: {trained}{f', {best.among}' if best.among else ''}.",
        *([formatting.capitalised(taken.standing.text)] if taken.standing.text else []),
        f"Fitness {best.fitness:.4f} on the validation images (weights {_weights(study)}), seeds {seeds}{without}"
        f"{f': {best.spread}' if len(seeds) > 1 and best.spread else ''}.",
        *(
            f"{split}: {_metric_words(metrics)} (suppression at IoU {study.nms_iou:g})."
            for split, metrics in best.metrics.items()
        ),
        f"Searched: {', '.join(f'{k} = {formatting.parameter(v)}' for k, v in through.first.items()) or 'nothing'}.",
        *_changes_text(through),
        "Versions: "
        + ", ".join(f"{name} {facts[name]}" for name in ("evolve", "torch", "optuna") if name in facts)
        + f"; {facts.get('device', '')}; commit {facts.get('commit', 'unknown')}.",
    )


def _check_trained(storage: Storage, study: Study, trial: int) -> None:
    study_id = storage.study_id(study.name)
    trained, verdicts = {*storage.fitness(study_id)}, storage.verdicts(study_id)
    if study.ablation is not None:  # its arms are compared although a seed of theirs is lost
        ended = trainings_of(storage.engine, study.name)
        trained |= {one.trial for one in ended if one.verdict in TRAINED_THROUGH and one.trial in verdicts}
    if trial not in trained:
        verdict = verdicts.get(trial)
        what = "there is none, or it has not ended" if verdict is None else f"it is {verdict}"
        allowed = formatting.listed([str(number) for number in sorted(trained)], limit=20)
        raise EvolveError(f"study {study.name}: trial {trial}: {what}; trained through: {allowed or 'none'}")


def _changes_text(through: Lived) -> tuple[str, ...]:
    if not through.changes:
        return ()
    line = formatting.listed([str(number) for number in through.line])
    return (f"These changed while it trained, through trials {line}: see from_epoch.",)


def _best_trained(storage: Storage, study_name: str) -> tuple[Study, Best]:
    study = storage.stored_study(study_name)
    if study is None:
        raise StorageError(f"study {study_name}: is not in {storage.where}; stored: {storage.study_names()}")
    best = best_of(storage, study_name)
    if best is None:
        raise EvolveError(f"study {study_name}: no trial has trained through yet, so there is no best one")
    if (found := grounded(storage, study, best)) is not None:
        advice = "".join(f"; {remedy.option} {remedy.value}: {remedy.reason}" for remedy in found.remedies)
        raise EvolveError(f"study {study_name}: {found.text}, so there is nothing to export{advice}")
    return study, best


def export_hyp(storage: Storage, study_name: str, path: Path, *, trial: int | None = None) -> Provenance:
    """Writes the best hyperparameters of a study to a hyp file that says where they are from.

    Args:
        storage: Database that has the study.
        study_name: Name of the study.
        path: Path of the hyp file to write.
        trial: Number of a trial that is taken whatever is best; None for the best.

    Raises:
        EvolveError: For the reasons for which `provenance` raises it.
    """
    found = provenance(storage, study_name, trial=trial)
    study, params = found.taken.study, found.taken.best.params
    training = training_of(study.of_trial(params).to_mapping())
    header = (*found.head, f"Train with it: evolve train --hyp {path}")
    values = study.hyperparameters(found.lived.first)
    write_hyp(path, values, training=training, header=header, later=found.lived.changes)
    return found


def _weights(study: Study) -> str:
    return ", ".join(f"{name} {weight:g}" for name, weight in study.fitness.model_dump().items() if weight)


def _metric_words(metrics: dict[str, float]) -> str:
    return ", ".join(f"{name} {value:.4f}" for name, value in metrics.items())


def as_json(best: Best | None) -> dict[str, Any] | None:
    """A best trial as plain values, for machines; None where there is none."""
    return None if best is None else asdict(best)
