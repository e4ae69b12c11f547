"""Settings of the command line that change what a training is trained with, such as `clip_norm=10`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from detector.families import START, WARMUP
from detector.hyperparameters import declarations, names
from detector.plan import TrainingPlan
from evolve.errors import StudyError, unknown_text
from evolve.study.space import Scalar, fixed_value

OF_STUDY = ("precision",)  # what may be changed besides hyperparameters


@dataclass(frozen=True, slots=True, kw_only=True)
class Changes:
    """Hyperparameters and settings in which a training is changed.

    Attributes:
        values: New value of each hyperparameter that is changed, by name.
        study: New value of each setting of `OF_STUDY` that is changed, by name.
    """

    values: Mapping[str, Scalar]
    study: Mapping[str, str]

    @property
    def all(self) -> dict[str, Scalar]:
        """New values of all that is changed, by name."""
        return {**self.values, **self.study}

    @property
    def needs_start(self) -> str:
        """Names of changes that matter, or mean anything, only from the start of a training; empty where none does."""
        declared = declarations()
        early = [
            name
            for name in self.values
            if declared[name].choices or declared[name].is_shared or declared[name].family in (START, WARMUP)
        ]
        return ", ".join([*early, *self.study])


def read_changes(settings: Sequence[str]) -> Changes:
    """The changes that settings such as `clip_norm=10` stand for.

    Raises:
        StudyError: A setting is not allowed.
    """
    values: dict[str, Scalar] = {}
    study: dict[str, str] = {}
    for setting in settings:
        name, equals, text = (part.strip() for part in setting.partition("="))
        if not equals or name in {**values, **study}:
            raise StudyError(f"--with {setting!r:.80}: is not a setting such as clip_norm=10, each name once")
        if name not in (*names(), *OF_STUDY):
            raise StudyError(f"--with {setting!r:.80}: {unknown_text('hyperparameter', name, (*names(), *OF_STUDY))}")
        try:
            if name in OF_STUDY:
                study[name] = _plan_value(name, text)
            else:
                values[name] = fixed_value(name, {"true": True, "false": False}.get(text.lower(), text))
        except ValueError as error:
            raise StudyError(f"--with {setting!r:.80}: {error}") from None
    return Changes(values=values, study=study)


def _plan_value(name: str, text: str) -> str:
    TrainingPlan(**{name: text})  # type: ignore[arg-type]  # which says what is allowed
    return text
