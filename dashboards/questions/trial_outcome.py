"""What became of a trial, what people wrote about it, and why it diverged."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from math import isfinite
from typing import Any

from dashboards.blocks import Column, Disclosure, Empty, Prose, Table, Tile, Tiles, VerdictMark
from dashboards.data.resolved import study_of
from dashboards.data.trial import TrialView
from dashboards.questions.foreseen import warnings_of
from dashboards.questions.panel import Block, Panel
from evolve import formatting
from evolve.outcome.explanations import Explanation, causes_of
from evolve.outcome.forensics import Diagnosis


def rows(view: TrialView) -> tuple[Block, ...]:
    """Verdict, reason, which seed is shown, and numbers."""
    row = view.row
    best = view.study.best
    is_alone = len(view.study.trials) == 1
    behind = "" if is_alone or best is None or not isfinite(row["fitness"]) else _behind(row, best)
    tiles = (
        Tile(label="fitness", value=formatting.score(row["fitness"]), detail=behind),
        Tile(label="mAP50, val", value=formatting.score(row["map50"]), detail="last epoch, mean of seeds"),
        Tile(label="mAP50, test", value=formatting.score(row["test_map50"]), detail="of the last epoch"),
        Tile(label="epochs", value=f"{row['epochs']:,}", detail=_asked(view, "epochs")),
        Tile(label="training time", value=formatting.duration(row["seconds"]), detail=_when(row)),
        Tile(
            label="seeds", value=str(len(view.seeds) or "none"), detail=f"shown: seed {view.seed}" if view.seeds else ""
        ),
    )
    trace = row["traceback"]
    sentences = (Prose(text) for text in (row["reason"], _warning(view), _arm(view), _which_seed(view)) if text)
    traceback = [Disclosure(summary=formatting.last_line(trace), text=trace)] if trace else []
    trainings = [_trainings(view)] if len(view.outline.trainings) > 1 else []
    return (VerdictMark(view.verdict), *sentences, Tiles(tiles), *trainings, *traceback)


def _warning(view: TrialView) -> str:
    """What its steps foretold; empty where they did not."""
    warned = warnings_of(view.study)
    own = list(warned[warned["number"] == view.number]["message"])
    return f"Its steps had warned: {'; '.join(own)}." if own else ""


def _arm(view: TrialView) -> str:
    """Which arm of a comparison the trial trains; empty where it compares none."""
    study = study_of(view.study)
    if study is None or study.arm_plan is None:
        return ""
    plan = study.arm_plan
    arm = plan.arm_of(view.number).name
    tunes = f"It only tunes for the arm {arm}, and is not compared with others."
    return tunes if view.number < plan.num_tuning else f"It trains the arm {arm}."


def note_rows(view: TrialView) -> tuple[Prose, ...] | Empty:
    """What people wrote about the trial, oldest first."""
    rows = view.study.notes[view.study.notes["number"] == view.number].to_dict("records")
    return tuple(_note(row) for row in rows) or Empty("Nobody has written about this trial yet.")


def diagnosis_rows(view: TrialView) -> tuple[Block, ...] | Empty:
    """The diagnosis of a trial that diverged, in sentences and as it was stored."""
    found = view.study.diagnoses.get(view.number)
    if not found:
        if view.verdict == "diverged":
            return Empty(
                "This trial diverged, but no diagnosis of it is stored; its reason is under What became of it."
            )
        return Empty("This trial did not diverge, so there is nothing to diagnose.")
    known = _diagnosis_sentences(found)
    # What the sentences say is not said again; where there are none, the stored summary is all there is.
    rows = tuple(
        (key.replace("_", " "), formatting.as_text(value))
        for key, value in found.items()
        if value is not None and key != "causes" and not (known and key == "summary")
    )
    columns = (Column(title="diagnosis"), Column(title="value"))
    sentences = (_whose(view), *(known or (str(found.get("summary") or view.row["reason"]),)))
    table = Table(name="diagnosis", columns=columns, rows=rows)
    return (*(Prose(text) for text in sentences if text), *_explained(causes_of(found)), table)


def _explained(causes: Sequence[Explanation]) -> tuple[Table, ...]:
    """Each cause that the evidence speaks for, with its numbers and what to change."""
    if not causes:
        return ()
    columns = (
        Column(title="cause", is_long=True),
        Column(title="evidence", is_long=True),
        Column(title="strength", kind="number", unit="powers of ten", digits=1),
        Column(title="what to change", is_long=True),
    )
    rows = tuple(
        (
            explanation.cause.text,
            explanation.numbers,
            explanation.strength,
            "; ".join(remedy.text for remedy in explanation.remedies),
        )
        for explanation in causes
    )
    return (Table(name="explained", columns=columns, rows=rows),)


def _trainings(view: TrialView) -> Table:
    """How each of several trainings ended; of databases from before it was kept, some verdicts are not known."""
    columns = (
        Column(title="seed", kind="number", digits=0),
        Column(title="verdict", kind="verdict"),
        Column(title="fitness", kind="number"),
        Column(title="time", kind="number", unit="s", digits=1),
        Column(title="reason", is_long=True),
    )
    rows = tuple(
        (training.seed, training.verdict or "", training.fitness, training.seconds, training.reason)
        for training in view.outline.trainings
    )
    return Table(name="trainings", columns=columns, rows=rows)


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


def _diagnosis_sentences(stored: Mapping[str, Any]) -> tuple[str, ...]:
    try:
        return Diagnosis.from_mapping(stored).sentences
    except (KeyError, TypeError, ValueError):
        return ()  # of another program or version, or cut short


def _behind(row: Mapping[str, Any], best: Mapping[str, Any]) -> str:
    if row["number"] == best["number"]:
        return "the best of the study"
    lead = row["fitness"] - best["fitness"]  # of a trial that was pruned, it may be above
    return f"{formatting.score(abs(lead))} {'above' if lead > 0 else 'below'} trial {best['number']}"


def _asked(view: TrialView, key: str) -> str:
    asked = view.study.facts.text(key)
    return f"of {asked}" if asked else ""


def _when(row: Mapping[str, Any]) -> str:
    return f"from {formatting.moment(row['started'])}" if isfinite(row["started"]) else ""


def _note(row: Mapping[Hashable, Any]) -> Prose:
    tag = f"#{row['tag']} " if row["tag"] else ""
    who = f"{row['author']}, " if row["author"] else ""
    return Prose(f"{tag}{row['text']} ({who}{formatting.moment(row['created'])})")


PANEL = Panel(key="summary", title="What became of it", rows=rows)

NOTE = Panel(key="notes", title="Notes", rows=note_rows)

DIAGNOSIS = Panel(
    key="diagnosis",
    title="Diagnosis",
    caption="Steps and epochs count from 0, scales from the coarsest grid.",
    rows=diagnosis_rows,
)
