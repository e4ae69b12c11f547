"""A study as it was resolved, from its stored configuration, and values with the types of its space."""

from __future__ import annotations

import json
from collections.abc import Mapping
from math import isfinite
from typing import Any

from dashboards.data.study import StudyView
from evolve.errors import StudyError
from evolve.study import Study
from evolve.study.space import Choices, Scalar


def study_of(view: StudyView) -> Study | None:
    """The study as it was resolved; None where evolve did not make it."""
    try:
        return Study.from_json(json.dumps(dict(view.facts.config)))
    except StudyError:
        return None


def typed_params(study: Study, values: Mapping[Any, object]) -> dict[str, Scalar]:
    """Parameters as the study has them: a view has choices as text."""
    found: dict[str, Scalar] = {}
    for name, axis in study.space.items():
        value = values.get(name)
        if isinstance(axis, Choices):
            named = {str(choice): choice for choice in axis.choices}
            if value in named:
                found[name] = named[str(value)]
        elif isinstance(value, float | int) and isfinite(value):
            found[name] = float(value)
    return found
