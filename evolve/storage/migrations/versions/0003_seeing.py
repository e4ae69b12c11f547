"""Scores by class, objectness by scale, and pictures, which earlier trainings have not recorded."""

from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"

DOUBLE = sa.Float(53)


def upgrade() -> None:
    """Makes their tables, empty."""
    op.create_table(
        "evolve_class_scores",
        *_keys("trial_id", "seed", split=sa.String(8), epoch=sa.Integer, class_index=sa.Integer),
        *(sa.Column(name, DOUBLE) for name in ("precision", "recall", "map50", "map50_95")),
        sa.Column("objects", sa.Integer, nullable=False),
    )
    op.create_table(
        "evolve_objectness",
        *_keys("trial_id", "seed", split=sa.String(8), epoch=sa.Integer, scale=sa.Integer, is_matched=sa.Boolean),
        sa.Column("places", sa.Integer, nullable=False),
        *(sa.Column(name, DOUBLE) for name in ("objectness_mean", "objectness_spread", "iou_mean", "iou_spread")),
        *(sa.Column(name, sa.Text, nullable=False) for name in ("histogram", "density")),
    )
    op.create_table(
        "evolve_picture",
        *_keys("study_id", picture_id=sa.String(64)),
        sa.Column("jpeg", sa.LargeBinary, nullable=False),
        *(sa.Column(name, sa.Integer, nullable=False) for name in ("width", "height")),
        sa.Column("boxes", sa.Text, nullable=False),
    )
    op.create_table(
        "evolve_taken",
        *_keys("trial_id", "seed", split=sa.String(8), place=sa.Integer),
        sa.Column("picture_id", sa.String(64), nullable=False),
    )
    op.create_table(
        "evolve_watched",
        *_keys("trial_id", "seed", epoch=sa.Integer),
        sa.Column("boxes", sa.Text, nullable=False),
    )


def _keys(*ids: str, **types: Any) -> list[sa.Column[Any]]:
    columns: dict[str, Any] = dict.fromkeys(ids, sa.Integer) | types
    return [sa.Column(name, kind, primary_key=True, autoincrement=False) for name, kind in columns.items()]
