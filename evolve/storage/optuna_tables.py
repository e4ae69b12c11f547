"""Optuna's tables as far as we read them beside ours.

Types are kept plain: its enumerations come back as text from every database; to be compared they are cast. Optuna's own
reading takes one trial at a time: 13 s for 10,000.
"""

from __future__ import annotations

from sqlalchemy import Float, Integer, String, Text, column, table

STUDIES = table("studies", column("study_id", Integer), column("study_name", String))
TRIALS = table(
    "trials",
    column("trial_id", Integer),
    column("study_id", Integer),
    column("number", Integer),
    column("state", String),
)
PARAMS = table(
    "trial_params",
    column("param_id", Integer),
    column("trial_id", Integer),
    column("param_name", String),
    column("param_value", Float),
    column("distribution_json", Text),
)
VALUES = table(
    "trial_values",
    column("trial_id", Integer),
    column("objective", Integer),
    column("value", Float),
    column("value_type", String),
)
