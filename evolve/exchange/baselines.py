"""What an ablation starts from and leads to, looked up: a hyp file, a preset, or another study's best."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from detector.hyperparameters import Hyperparameters, former_defaults, names
from evolve.errors import StudyError, shown
from evolve.exchange.presets import preset_values
from evolve.storage.database import Storage
from evolve.study import Study
from evolve.study.ablation import Ablation
from evolve.study.deciding import BASELINE_KEY, undecided
from evolve.study.file import PRESETS, StudyFile
from evolve.study.hyp import read_hyp

PATH_KEY = "ablation.path"
BEST_OF = "best of "
Values = Mapping[str, Any]
# Everything that a name stands for: hyperparameters that differ from the defaults, and a note on them.
LookUp = Callable[[str], tuple[Values, str]]


def looks_up(study: Study) -> bool:
    """Whether a study's baseline or the end of its path is named rather than written down."""
    return study.ablation is not None and bool(study.ablation.source or study.ablation.is_open)


def uses_preset(study: Study, stored: Study | None) -> bool:
    """Whether a trainer's usual values, which depend on the data, have to be looked up for a study.

    Args:
        study: Study whose baseline, or the end of whose path, may be a trainer's.
        stored: Study that is stored under its name, which keeps what was looked up for it; None where there is none.
    """
    named = zip((BASELINE_KEY, PATH_KEY), () if study.ablation is None else _named(study.ablation), strict=False)
    return any(name in PRESETS and (stored is None or _name_in(stored, key) != name) for key, name in named)


def _named(ablation: Ablation) -> list[str]:
    end = ablation.path.to if ablation.path is not None else ""
    return [ablation.source, end if isinstance(end, str) else ""]


def with_baseline(file: StudyFile, study: Study, stored: Study | None, look_up: LookUp) -> Study:
    """A study whose fixed hyperparameters are its baseline's, and whose path leads to what is named at its end.

    What the file fixes itself stands at both ends. A stored study keeps the values it began with.

    Args:
        file: The study as written.
        study: The study with all else chosen.
        stored: Study that is stored under the study's name; None where there is none.
        look_up: Finds the hyperparameters that a name stands for, and a note on them.

    Raises:
        EvolveError: A name stands for nothing, or the arms are not allowed.
    """
    ablation, decisions = study.ablation, dict(study.decisions)
    assert ablation is not None
    usual = Hyperparameters.from_mapping(former_defaults(study.defaults))
    if stored is not None and _name_in(stored, BASELINE_KEY) == ablation.source:
        values: Values = stored.fixed
        decisions[BASELINE_KEY] = stored.decisions.get(BASELINE_KEY, "")
    else:
        values, decisions[BASELINE_KEY] = look_up(ablation.source) if ablation.source else ({}, "")
    start = {name: getattr(usual, name) for name in names()} | dict(values) | dict(file.given)
    fixed = {name: value for name, value in start.items() if name in file.given or value != getattr(usual, name)}
    mapping = undecided(study.to_mapping()) | {"hyperparameters": fixed}
    if ablation.path is not None and isinstance(end := ablation.path.to, str):
        changes, decisions[PATH_KEY] = _end(end, stored, start, file.given, look_up)
        mapping["ablation"] = mapping["ablation"] | {"path": {"from": ablation.path.origin, "to": changes}}
    mapping["decisions"] = {key: reason for key, reason in decisions.items() if reason}
    return Study.from_mapping(mapping, origin=str(file.path))


def _name_in(stored: Study, key: str) -> str:
    """The name that was looked up when a study was stored; empty for none."""
    return stored.decisions.get(key, "").partition(": ")[0]


def _end(name: str, stored: Study | None, start: Values, given: Values, look_up: LookUp) -> tuple[Values, str]:
    """What changes on the way to what a name stands for, in the order of the hyperparameters."""
    kept = None if stored is None or stored.ablation is None or stored.ablation.path is None else stored.ablation.path
    if stored is not None and kept is not None and _name_in(stored, PATH_KEY) == name:
        assert not isinstance(kept.to, str)
        return kept.to, stored.decisions[PATH_KEY]
    values, note = look_up(name)
    changes = {key: values[key] for key in names() if key in values and key not in given and values[key] != start[key]}
    if not changes:
        raise StudyError(f"ablation.path.to: {name} changes nothing of what the path begins with; name another end")
    return changes, note


def look_up_in(storage: Callable[[], Storage], study: Study, summary: Mapping[str, Any]) -> LookUp:
    """A function that finds hyperparameters by name.

    Args:
        storage: Opens the database with other studies.
        study: Study that is defined; its model and sizes decide some of a trainer's usual values.
        summary: What the data check counted, for a trainer's usual values; may be empty where none of these is named.

    Returns:
        A function that gives all hyperparameters and a note; it raises EvolveError where a name stands for nothing.
    """

    def look_up(name: str) -> tuple[Values, str]:
        if name == "defaults":
            return _all(Hyperparameters.from_mapping(former_defaults(study.defaults))), f"{name}: those of evolve"
        if name in PRESETS:
            values, note = preset_values(name, study, summary)
            return {**_all(Hyperparameters.from_mapping(former_defaults(study.defaults))), **values}, f"{name}: {note}"
        if name.startswith(BEST_OF):
            return _best(storage(), name)
        if name.endswith((".yaml", ".yml")):
            return _all(_unchanging(Path(name).expanduser())), f"{name}: as the file has them now"
        raise StudyError(
            f"ablation.baseline: {shown(name)} is none of: defaults, a hyp file (such as runs/lr_sweep/hyp.yaml), "
            f"a preset ({', '.join(PRESETS)}), {BEST_OF}STUDY"
        )

    return look_up


def _unchanging(path: Path) -> Hyperparameters:
    file = read_hyp(path)
    if file.later:
        raise StudyError(f"{path}: its values change from epoch {min(file.later)} on, and those of an arm may not")
    return file.values


def _all(values: Hyperparameters) -> Values:
    return {name: getattr(values, name) for name in names()}


def _best(storage: Storage, name: str) -> tuple[Values, str]:
    from evolve.run.found import provenance

    try:
        found = provenance(storage, name.removeprefix(BEST_OF).strip())
        if found.lived.changes:
            raise StudyError(f"{name}: its values changed while it trained, and those of an arm may not")
        return _all(found.taken.study.hyperparameters(found.taken.best.params)), f"{name}: {' '.join(found.head[:2])}"
    finally:
        storage.close()
