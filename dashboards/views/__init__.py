"""A study as its database holds it, and the rows behind each picture: `load` reads, all else is pure."""

from __future__ import annotations

from dashboards.views.loading import StudyNotFoundError, load
from dashboards.views.study import Parameter, StudyFacts, StudyView

__all__ = ["Parameter", "StudyFacts", "StudyNotFoundError", "StudyView", "load"]
