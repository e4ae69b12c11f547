"""A study that follows up another one: the same but for what a finding changes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from evolve.study.definition import LONGEST_NAME
from evolve.study.space import Scalar
from evolve.study.study import Study


def following(study: Study, key: str, *, changes: Mapping[str, Any], fixes: Mapping[str, Scalar]) -> Study:
    """The study with a finding's changes made, under a name that says which.

    Args:
        study: Study of the search that has the finding.
        key: Name of the finding.
        changes: Keys of the study with their new values, sections whole.
        fixes: Hyperparameters that are to be fixed, with their values.

    Raises:
        StudyError: The new study is not allowed.
    """
    mapping = study.to_mapping()
    end = f"-{key}"
    fixed = {**mapping["hyperparameters"], **fixes}
    decisions = {name: why for name, why in mapping["decisions"].items() if name not in changes}
    named = {"name": f"{study.name[: LONGEST_NAME - len(end)]}{end}", "hyperparameters": fixed, "decisions": decisions}
    return Study.from_mapping({**mapping, **changes, **named}, origin=f"study that follows {study.name}")
