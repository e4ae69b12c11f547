"""A study of a thousand trials and a million steps, written in seconds: steps are made inside the database."""

from __future__ import annotations

from pathlib import Path

from sqlalchemy import text

from evolve.storage import schema
from tests.synthetic import Plan, add_study, new_engine

# Loss falls and is noisy; every 37th trial ends in a number that is none.
_STEPS = """
WITH RECURSIVE count(step) AS (SELECT 0 UNION ALL SELECT step + 1 FROM count WHERE step + 1 < :steps)
INSERT INTO evolve_step (trial_id, seed, step, epoch, loss, num_scales, {terms}, grad_norm, update_ratio, lr, bias_lr,
                         momentum, max_box_logit, in_warmup, seconds, images_per_second)
SELECT trial_id, 0, step, step / 100,
       CASE WHEN number % 37 = 0 AND step = :steps - 1 THEN NULL ELSE 8.0 / (1 + step * 0.01) + r END,
       2, {values}, 5 + 10 * r, 0.002 + 0.01 * r, 0.1 / (1 + step * 0.01), 0.1 / (1 + step * 0.01), 0.9, 3.0 + r,
       step < 30, 0.06, 266.0
FROM (SELECT trial_id, number, step, abs(random() % 1000) / 1000.0 AS r FROM evolve_trial, count)
"""


def large_study(path: Path, *, num_trials: int = 1000, num_steps: int = 1000, name: str = "large") -> str:
    """Writes the study to a new file and returns its URL."""
    engine = new_engine(path)
    add_study(engine, Plan(name=name, num_trials=num_trials, epochs=10, log_steps=False, steps_per_epoch=100))
    terms = [f"{term}_{scale}" for term in schema.TERMS for scale in range(2)]
    statement = _STEPS.format(terms=", ".join(terms), values=", ".join(["0.1 + 0.1 * r"] * len(terms)))
    with engine.begin() as connection:
        connection.execute(text(statement), {"steps": num_steps})
    engine.dispose()
    return f"sqlite:///{path}"
