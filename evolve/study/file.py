"""A study as its YAML file and the command line give it, some of it left open until the data are known.

`model`, `image_size`, `batch_size` and `epochs` may be `auto`; `updates` stands in place of `epochs` and says how many
times the weights are to be updated, whatever the number of images. `preset` names a trainer whose usual hyperparameters
stand in for our defaults.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from detector.text_files import TextFileError, read_text
from detector.yaml_text import YamlError, load
from evolve.errors import Problem, StudyError, shown, unknown_text
from evolve.study import Study, validated
from evolve.study.placing import placed_like

AUTO = "auto"
MAX_UPDATES = 100_000_000
# Whose usual hyperparameters a study may begin from; `evolve.exchange.presets` knows them.
PRESETS = ("paper", "ultralytics-yolov3", "early-yolov3", "ultralytics", "darknet")
MAY_BE_OPEN = ("model", "image_size", "batch_size", "epochs")
_UPDATES = re.compile(r"(at least .*: )?(\d+) updates at \d+ an epoch")  # as `planning.epochs_for` gives its reason
_OURS = ("updates", "preset")  # keys of a file that a study has no more, once they have been followed
_SECTIONS = {"fixed", "space", "budget", "fitness", "thresholds", "decisions"}
# Options by the keys they replace.
_OVERRIDES = {name: (name,) for name in (*Study.model_fields, "updates") if name not in _SECTIONS} | {
    "trials": ("budget", "trials"),
    "seconds": ("budget", "seconds"),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class StudyFile:
    """Keys and values of a study, not all of them chosen yet.

    Attributes:
        path: File that the study was read from.
        raw: Values as the file has them, replaced by those of the command line where it gives any.
        options: Option of the command line, such as --epochs, by the path of the key whose value it replaced.
    """

    path: Path
    raw: Mapping[str, Any]
    options: Mapping[str, str]

    @property
    def name(self) -> str:
        """The name as written; that of the file by default."""
        return str(self.raw["name"])

    @property
    def data(self) -> str:
        """What to train on; empty where the file leaves that to the command line."""
        return str(self.raw.get("data") or "")

    @property
    def updates(self) -> int | None:
        """Updates of the weights that a training is to take, or None where epochs are given."""
        return self.raw.get("updates")

    @property
    def preset(self) -> str:
        """Name of the trainer whose usual hyperparameters are the defaults; empty for ours."""
        return str(self.raw.get("preset") or "")

    @property
    def given(self) -> Mapping[str, Any]:
        """Hyperparameters that the file itself fixes."""
        fixed = self.raw.get("hyperparameters")
        return fixed if isinstance(fixed, Mapping) else {}

    @property
    def open_keys(self) -> tuple[str, ...]:
        """Keys to be chosen from the data."""
        return tuple(key for key in MAY_BE_OPEN if self.raw.get(key) == AUTO or (key == "epochs" and self.updates))

    @property
    def searched(self) -> tuple[str, ...]:
        """Names of the hyperparameters in the space."""
        space = self.raw.get("space")
        return tuple(map(str, space)) if isinstance(space, Mapping) else ()

    def renamed(self, name: str) -> StudyFile:
        """The study's file with another name for the study."""
        return replace(self, raw={**self.raw, "name": name})

    def settled(self, values: Mapping[str, Any], decisions: Mapping[str, str]) -> Study:
        """The study with everything chosen.

        Args:
            values: Value chosen for each key left open, by its name.
            decisions: Why each value was chosen, by key; a key `space.NAME` leaves that hyperparameter out of the
                space.

        Raises:
            StudyError: The study is not allowed; names every problem.
        """
        closed = {key: value for key, value in self.raw.items() if key not in _OURS} | dict(values)
        if isinstance(space := closed.get("space"), Mapping):
            closed["space"] = {name: parameter for name, parameter in space.items() if f"space.{name}" not in decisions}
        return validated(closed | {"decisions": dict(decisions)}, self._placed)

    def settled_like(self, stored: Study) -> Study:
        """The study with what is open chosen as it was in a stored one, so that the same command goes on.

        Raises:
            StudyError: The study is not allowed; names every problem. Or it asks for other updates than the stored one.
        """
        self._check_same_updates(stored)
        # What a person has named since then is no longer open.
        kept = {
            key: reason
            for key, reason in stored.decisions.items()
            if key in self.open_keys or key.partition(".")[2] in self.searched
        }
        generation = {} if "defaults" in self.raw else {"defaults": stored.defaults}
        values = {key: getattr(stored, key) for key in self.open_keys} | generation
        return placed_like(self.settled(values, kept), stored)

    def _check_same_updates(self, stored: Study) -> None:
        if self.updates is None:
            return
        reason = stored.decisions.get("epochs", "")
        if (found := _UPDATES.match(reason)) is not None:
            is_least, updates = found[1] is not None, int(found[2])
            if self.updates == updates or (is_least and self.updates < updates):
                return
        raise StudyError(
            f"{self._place_of_updates}: study {stored.name} is stored with other updates: {stored.epochs} epochs"
            f"{f', {reason}' if reason else ''}, not {self.updates} updates; give this one another --name"
        )

    @property
    def _place_of_updates(self) -> str:
        return self.options.get("updates", f"{self.path}: updates")

    def preview(self) -> Study:
        """The study with everything left open at its default, to be described before there are data.

        Raises:
            StudyError: The study is not allowed; names every problem.
        """
        return self.settled({key: Study.model_fields[key].default for key in self.open_keys}, {})

    def _placed(self, problem: Problem) -> str:
        for key, option in self.options.items():
            if problem.path == key or problem.path.startswith(f"{key}."):
                return f"{option}: {problem.text}"
        return f"{self.path}: {problem}"


def available_studies() -> list[tuple[str, Path]]:
    """Names and files of the studies in ./studies and of those that come with the package, sorted by name."""
    # A package without __init__ has several places; importlib.resources stumbles over those of an editable install.
    package = find_spec("studies")
    places = package.submodule_search_locations if package else None
    folders = [Path("studies"), *(Path(place) for place in places or ())]
    found = {path.stem: path for folder in reversed(folders) for path in folder.glob("*.yaml")}
    return sorted(found.items())


def read_study(name_or_path: str, overrides: Mapping[str, object] | None = None) -> StudyFile:
    """A study's file with the options of the command line in it; what is not open is checked.

    Args:
        name_or_path: Name of an available study, or path of a file.
        overrides: Values that replace those of the file, by the name of their command-line option; None leaves the
            file's value.

    Raises:
        StudyError: The file cannot be read or is not allowed, or an override is not allowed; names every problem.
    """
    path = _find(name_or_path)
    raw = _read(path)
    raw.setdefault("name", path.stem)
    given = {option: value for option, value in (overrides or {}).items() if value is not None}
    if {"epochs", "updates"} <= given.keys():
        raise StudyError("--updates: is given beside --epochs; an epoch is a fixed number of updates: name one of them")
    for shorter, longer in (("epochs", "updates"), ("updates", "epochs")):
        if shorter in given:
            raw.pop(longer, None)
    options = {_override(raw, option, value): f"--{option.replace('_', '-')}" for option, value in given.items()}
    file = StudyFile(path=path, raw=raw, options=options)
    _check_updates(file)
    if file.preset not in ("", *PRESETS):
        raise StudyError(f"{path}: preset: {unknown_text('preset', file.preset, PRESETS)}")
    if file.preset and raw.get("ablation"):
        raise StudyError(f"{path}: preset: is given beside ablation; write ablation.baseline: {file.preset}")
    file.preview()
    return file


def _check_updates(file: StudyFile) -> None:
    updates, place = file.updates, file._place_of_updates
    if updates is None:
        return
    if isinstance(updates, bool) or not isinstance(updates, int) or updates < 1:
        raise StudyError(f"{place}: {shown(updates)} is not a whole number of at least 1")
    if updates > MAX_UPDATES:
        raise StudyError(f"{place}: {shown(updates)} is above {MAX_UPDATES:,}")
    if file.raw.get("epochs", AUTO) != AUTO:
        raise StudyError(f"{place}: is given beside epochs; an epoch is a fixed number of updates: name one of them")


def _override(raw: dict[Any, Any], option: str, value: object) -> str:
    if option not in _OVERRIDES:
        raise StudyError(unknown_text("option", option, _OVERRIDES))
    places = ("ablation", "seeds") if option == "seeds" and raw.get("ablation") else _OVERRIDES[option]
    *parents, key = places
    for parent in parents:
        inner = raw.get(parent)
        raw = raw.setdefault(parent, {}) if inner is None or isinstance(inner, dict) else {}
    raw[key] = list(value) if isinstance(value, tuple) else value
    return ".".join(places)


def _find(name_or_path: str) -> Path:
    path = Path(name_or_path)
    if path.suffix in (".yaml", ".yml") or len(path.parts) > 1:
        return path
    available = dict(available_studies())
    if name_or_path not in available:
        raise StudyError(f"{unknown_text('study', name_or_path, list(available))}; or give the path of a .yaml file")
    return available[name_or_path]


def _read(path: Path) -> dict[Any, Any]:
    try:
        raw = load(read_text(path))
    except (TextFileError, YamlError) as error:
        raise StudyError(f"{path}: {error}") from None
    if not isinstance(raw, dict):
        found = "is empty" if raw is None else f"holds {type(raw).__name__}"
        raise StudyError(f"{path}: {found}; a study is a mapping with at least space and budget")
    return raw
