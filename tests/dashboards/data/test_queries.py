"""Statements as PostgreSQL reads them."""

from __future__ import annotations

import pytest
from sqlalchemy.dialects import postgresql

from dashboards.data import queries


@pytest.mark.parametrize(
    "statement",
    [
        queries.study_by_name("a"),
        queries.trial_rows(1),
        queries.param_rows(1),
        queries.epoch_rows(1),
        queries.seed_rows([1, 2]),
        queries.step_ranges([1]),
        queries.step_buckets({1: 0}, 7),
        queries.steps_up_to({1: 40}, 100),
        queries.finding_counts(1),
        queries.finding_rows(1, 50),
        queries.environment_rows(["a"]),
    ],
)
def test_every_statement_can_be_said_to_postgresql(statement):
    text = str(statement.compile(dialect=postgresql.dialect()))

    assert text.startswith("SELECT")


def test_the_bucket_expression_is_the_same_in_both_places_for_postgresql():
    text = str(queries.step_buckets({1: 0}, 7).compile(dialect=postgresql.dialect()))

    assert "GROUP BY evolve_step.trial_id, evolve_step.step / 7" in text
