"""One trial: its steps and epochs, what became of it, and how to train it again."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from math import isfinite, nan
from typing import Any

import pandas as pd

from dashboards.views import wording
from dashboards.views.blocks import Cell, Column, Disclosure, Empty, Prose, Table, Tile, Tiles, VerdictMark
from dashboards.views.curves import Curve
from dashboards.views.study import StudyView, as_text
from dashboards.views.thinning import polyline
from detector.hyperparameters import Hyperparameters
from detector.yaml_text import dump
from evolve.outcome.forensics import Diagnosis
from evolve.storage.schema import TERMS

NO_STEPS = Empty("No steps of this trial are stored. They appear while it trains; a trial that failed early has none.")
NO_EPOCHS = Empty("This trial has not finished an epoch; metrics are measured after each one.")
TRAINING_KEYS = ("data", "model", "image_size", "batch_size", "nominal_batch_size", "epochs", "precision", "nms_iou")
METRICS = ("map50", "map50_95", "precision", "recall")


@dataclass(frozen=True, slots=True, kw_only=True)
class TrialView:
    """Everything the page of a trial shows.

    Attributes:
        study: The whole study.
        number: The trial.
        seed: Whose steps and epochs are shown.
        seeds: Those that have steps or epochs.
        diverged_seed: The one that diverged; None where none did, or it is not known.
        finished: Epochs that each of `seeds` has finished.
        num_scales: Of the network.
        steps: Buckets of steps of that seed, lowest and highest of each measurement.
        epochs: All epochs of that seed.
        checkpoints: The last one of each seed.
    """

    study: StudyView
    number: int
    seed: int
    seeds: tuple[int, ...]
    diverged_seed: int | None
    finished: Mapping[int, int]
    num_scales: int
    steps: pd.DataFrame
    epochs: pd.DataFrame
    checkpoints: pd.DataFrame

    @property
    def row(self) -> Mapping[str, Any]:
        """The trial's row in the study."""
        return self.study.trial(self.number)

    @property
    def verdict(self) -> str:
        """What became of it."""
        return str(self.row["verdict"])


@dataclass(frozen=True, slots=True, kw_only=True)
class Summary:
    """What became of a trial, in a few words and numbers."""

    verdict: VerdictMark
    sentences: tuple[Prose, ...]
    tiles: Tiles
    traceback: Disclosure | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Explanation:
    """Why a trial diverged: in sentences, and with all numbers."""

    sentences: tuple[Prose, ...]
    table: Table


@dataclass(frozen=True, slots=True, kw_only=True)
class Series:
    """Curves that share an axis.

    Attributes:
        title: On the y axis, with its unit.
        curves: Name and curve, by step unless `by_epoch`.
        is_log: Whether the axis is logarithmic where the values are positive.
        by_epoch: Whether x counts epochs.
        points: Curves drawn as points, of fewer values.
        slots: Which colour each curve has, the same in all pictures of a page; in order where there are none.
        is_overlay: Whether each curve is another trial, named by a key outside the picture: a cross in its own colour
            marks where it diverged, and an early one gets room on a logarithmic x axis.
    """

    title: str
    curves: tuple[tuple[str, Curve], ...]
    is_log: bool = False
    by_epoch: bool = False
    points: tuple[tuple[str, Curve], ...] = ()
    slots: tuple[int, ...] = ()
    is_overlay: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Reproduction:
    """The file and the command that train this trial again."""

    note: Prose
    text: Disclosure


def summary(view: TrialView) -> Summary:
    """Verdict, reason, which seed is shown, and numbers."""
    row = view.row
    best = view.study.best
    behind = "" if best is None or not isfinite(row["fitness"]) else _behind(row, best)
    tiles = (
        Tile(label="fitness", value=wording.score(row["fitness"]), detail=behind),
        Tile(label="mAP50, val", value=wording.score(row["map50"]), detail="last epoch, mean of seeds"),
        Tile(label="mAP50, test", value=wording.score(row["test_map50"]), detail="of the last epoch"),
        Tile(label="epochs", value=f"{row['epochs']:,}", detail=_asked(view, "epochs")),
        Tile(label="training time", value=wording.duration(row["seconds"]), detail=_when(row)),
        Tile(
            label="seeds", value=str(len(view.seeds) or "none"), detail=f"shown: seed {view.seed}" if view.seeds else ""
        ),
    )
    trace = row["traceback"]
    return Summary(
        verdict=VerdictMark(view.verdict),
        sentences=tuple(Prose(text) for text in (row["reason"], _which_seed(view)) if text),
        tiles=Tiles(tiles),
        traceback=Disclosure(summary=wording.last_line(trace), text=trace) if trace else None,
    )


def losses(view: TrialView) -> tuple[Series, ...] | Empty:
    """Each term of the loss by step and scale, with its validation value after each epoch."""
    if view.steps.empty:
        return NO_STEPS
    val = view.epochs[view.epochs["split"] == "val"]
    found = [Series(title="loss, all terms", curves=(_named(view, "loss", "training"),), is_log=True)]
    for term in TERMS:
        known = [scale for scale in range(view.num_scales) if view.steps[f"{term}_{scale}_low"].notna().any()]
        scales = tuple(_named(view, f"{term}_{scale}", _scale(scale)) for scale in known)
        points = (("validation", _curve(view, val["step"], val[f"loss_{term}"])),) if len(val) else ()
        found.append(Series(title=f"{term} loss", curves=scales, is_log=True, points=points))
    return tuple(found)


def schedule(view: TrialView) -> tuple[Series, ...] | Empty:
    """Learning rate and momentum as applied."""
    if view.steps.empty:
        return NO_STEPS
    rates = (_named(view, "lr", "weights"), _named(view, "bias_lr", "biases"))
    return (
        Series(title="learning rate", curves=rates, is_log=True),
        Series(title="momentum", curves=(_named(view, "momentum", "momentum"),)),
    )


def health(view: TrialView) -> tuple[Series, ...] | Empty:
    """What tells a training in trouble: gradient norm, update-to-weight ratio, largest box logit."""
    if view.steps.empty:
        return NO_STEPS
    names = {
        "grad_norm": "gradient norm",
        "update_ratio": "update / weights, per step",
        "max_box_logit": "largest box logit",
    }
    return tuple(
        Series(title=title, curves=(_named(view, name, title),), is_log=name != "max_box_logit")
        for name, title in names.items()
    )


def metrics(view: TrialView) -> tuple[Series, ...] | Empty:
    """Average precision, precision and recall on the validation images by epoch."""
    rows = view.epochs[view.epochs["split"] == "val"]
    if rows.empty:
        return NO_EPOCHS
    epochs = rows["epoch"] + 1
    titles = {"map50": "mAP50", "map50_95": "mAP50\N{EN DASH}95", "precision": "precision", "recall": "recall"}
    curves = tuple((titles[name], _curve(view, epochs, rows[name])) for name in METRICS)
    total = sum(rows[f"loss_{term}"] for term in TERMS)
    train = sum(rows[f"train_{term}"] for term in TERMS)
    both = (("training", _curve(view, epochs, train)), ("validation", _curve(view, epochs, total)))
    return (
        Series(title="validation metrics, 0 to 1", curves=curves, by_epoch=True),
        Series(title="loss, sum of all terms", curves=both, by_epoch=True, is_log=True),
    )


def diagnosis(view: TrialView) -> Explanation | Empty:
    """The diagnosis of a trial that diverged, in sentences and as it was stored."""
    found = view.study.diagnoses.get(view.number)
    if not found:
        if view.verdict == "diverged":
            return Empty(
                "This trial diverged, but no diagnosis of it is stored; its reason is under What became of it."
            )
        return Empty("This trial did not diverge, so there is nothing to diagnose.")
    told = _told(found)
    # What the sentences say is not said again; where there are none, the stored summary is all there is.
    rows = tuple(
        (key.replace("_", " "), as_text(value))
        for key, value in found.items()
        if value is not None and not (told and key == "summary")
    )
    columns = (Column(title="diagnosis"), Column(title="value"))
    sentences = (_whose(view), *(told or (str(found.get("summary") or view.row["reason"]),)))
    return Explanation(
        sentences=tuple(Prose(text) for text in sentences if text),
        table=Table(name="diagnosis", columns=columns, rows=rows),
    )


def setting(view: TrialView) -> Table | Empty:
    """Hyperparameters beside those of the study's best trial, the ones furthest apart first."""
    own = view.study.params_of(view.number)
    if not own:
        return Empty("This trial has no hyperparameters of its own; it trained with the study's.")
    best = view.study.best
    others = {} if best is None else view.study.params_of(int(best["number"]))
    title = "best" if best is None else f"best: trial {best['number']}"
    columns = (
        Column(title="hyperparameter"),
        Column(title=f"trial {view.number}", kind="number"),
        Column(title=title, kind="number"),
        Column(title="ratio", kind="number", digits=2),
    )
    names = sorted(own, key=lambda name: own[name] == others.get(name))
    rows = tuple((name, own[name], others.get(name, nan), _ratio(own[name], others.get(name))) for name in names)
    return Table(name="setting", columns=columns, rows=rows)


def checkpoint(view: TrialView) -> Table | Empty:
    """Where the weights of each seed are, or why there are none."""
    stored = {int(row["seed"]): row for row in _records(view.checkpoints)}
    seeds = sorted({*stored, *view.seeds, *_planned_seeds(view)})
    if not stored and len(seeds) < 2:
        why = _no_checkpoint(view, seeds[0]) if seeds else "nothing of this trial is stored"
        return Empty(f"There is no checkpoint: {why}.")
    columns = (
        Column(title="seed", kind="number", digits=0),
        Column(title="epoch", kind="number", digits=0),
        Column(title="step", kind="number", digits=0),
        Column(title="file", unit="in the run folder of the study"),
    )
    removed = _removed(view)
    rows = tuple(
        (seed, stored[seed]["epoch"], stored[seed]["step"], removed or stored[seed]["path"])
        if seed in stored
        else (seed, nan, nan, f"none: {_no_checkpoint(view, seed)}")
        for seed in seeds
    )
    return Table(name="checkpoint", columns=columns, rows=rows)


def notes(view: TrialView) -> tuple[Prose, ...] | Empty:
    """What people wrote about the trial, oldest first."""
    rows = _records(view.study.notes[view.study.notes["number"] == view.number])
    return tuple(_note(row) for row in rows) or Empty("Nobody has written about this trial yet.")


def environment(view: TrialView) -> Table | Empty:
    """Versions and machine the trial was trained with."""
    identity = view.row["environment_id"]
    facts = next((each for name, each, _ in view.study.environments if name == identity), None)
    if not facts:
        return Empty("No environment is stored for this trial.")
    rows = tuple((str(key), as_text(value)) for key, value in facts.items())
    return Table(name="environment", columns=(Column(title="what"), Column(title="value")), rows=rows)


def reproduction(view: TrialView) -> Reproduction | Empty:
    """A shell command that writes the trial's hyp file and trains with it."""
    config = view.study.facts.config
    if not config:
        return Empty("This study was not made by `evolve run`, so there is no command that trains it again.")
    stem = f"trial-{view.number}"
    text = dump(_all_hyperparameters(view))
    text += dump({"training": {key: config[key] for key in TRAINING_KEYS if config.get(key) is not None}})
    seeds = ",".join(str(each) for each in view.study.facts.seeds)
    command = f"evolve train --hyp {shlex.quote(stem + '.yaml')}" + (f" --seeds {shlex.quote(seeds)}" if seeds else "")
    return Reproduction(
        note=Prose("Paste this into a shell where `evolve` is installed. The seeds are those of the study."),
        text=Disclosure(summary=command, text=f"cat > {stem}.yaml <<'END_OF_HYP'\n{text}END_OF_HYP\n{command}\n"),
    )


def _which_seed(view: TrialView) -> str:
    if len(view.seeds) < 2:
        return ""
    shown = f"Steps and epochs below are those of seed {view.seed}"
    if view.seed == view.diverged_seed:
        return f"{shown}, the one that diverged; its others are chosen above."
    if view.diverged_seed is not None:
        return f"{shown}, as chosen above; seed {view.diverged_seed} is the one that diverged."
    return f"{shown}, the first of {len(view.seeds)}." if view.seed == view.seeds[0] else f"{shown}, as chosen above."


def _whose(view: TrialView) -> str:
    if len(view.seeds) < 2 or view.diverged_seed is None:
        return ""
    return f"The training with seed {view.diverged_seed} diverged."


def _told(stored: Mapping[str, Any]) -> tuple[str, ...]:
    try:
        return Diagnosis.from_mapping(stored).sentences
    except (KeyError, TypeError, ValueError):
        return ()  # of another program or version, or cut short


def _planned_seeds(view: TrialView) -> list[int]:
    return [seed for seed in view.study.facts.seeds if isinstance(seed, int)]


def _no_checkpoint(view: TrialView, seed: int) -> str:
    is_over = view.verdict not in ("running", "waiting")
    if seed not in view.finished:
        if not is_over:
            return "its training has not begun"
        return "not trained, since another seed diverged" if view.verdict == "diverged" else "no training is stored"
    if view.finished[seed]:
        return "none is stored"
    if not is_over:
        return "the first is written after the first epoch"
    if view.verdict == "diverged" and view.diverged_seed in (seed, None):
        return "diverged in the first epoch, before the first checkpoint"
    return "ended in the first epoch, before the first checkpoint"


def _removed(view: TrialView) -> str:
    best = view.study.best
    if best is None or best["number"] == view.number or view.study.facts.config.get("keep_weights") != "best":
        return ""
    if view.verdict not in ("converged", "undertrained", "pruned"):
        return ""
    return f"removed: the study keeps the weights of its best, trial {best['number']}"


def _all_hyperparameters(view: TrialView) -> dict[str, Any]:
    fixed = view.study.facts.config.get("hyperparameters")
    given = dict(fixed) if isinstance(fixed, Mapping) else {}
    chosen = given | view.study.params_of(view.number)
    try:
        # With all defaults written out, so that a later version trains the same.
        return asdict(Hyperparameters.from_mapping(chosen))
    except (ValueError, TypeError):
        return chosen


def _named(view: TrialView, column: str, name: str) -> tuple[str, Curve]:
    x, y = polyline(view.steps, column)
    return name, Curve(number=view.number, verdict=view.verdict, x=x, y=y)


def _curve(view: TrialView, x: Any, y: Any) -> Curve:
    return Curve(number=view.number, verdict=view.verdict, x=x.to_numpy(dtype=float), y=y.to_numpy(dtype=float))


def _scale(index: int) -> str:
    return f"stride {(32, 16, 8)[index]}"


def _ratio(own: float | str, other: float | str | None) -> Cell:
    return own / other if isinstance(own, float) and isinstance(other, float) and other else nan


def _behind(row: Mapping[str, Any], best: Mapping[str, Any]) -> str:
    if row["number"] == best["number"]:
        return "the best of the study"
    lead = row["fitness"] - best["fitness"]  # of a trial that was pruned, it may be above
    return f"{wording.score(abs(lead))} {'above' if lead > 0 else 'below'} trial {best['number']}"


def _asked(view: TrialView, key: str) -> str:
    asked = view.study.facts.text(key)
    return f"of {asked}" if asked else ""


def _when(row: Mapping[str, Any]) -> str:
    return f"from {wording.moment(row['started'])}" if isfinite(row["started"]) else ""


def _note(row: Mapping[str, Any]) -> Prose:
    tag = f"#{row['tag']} " if row["tag"] else ""
    who = f"{row['author']}, " if row["author"] else ""
    return Prose(f"{tag}{row['text']} ({who}{wording.moment(row['created'])})")


def _records(rows: pd.DataFrame) -> list[dict[str, Any]]:
    return [{str(key): value for key, value in row.items()} for row in rows.to_dict("records")]
