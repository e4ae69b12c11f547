"""What the layers of a network hold, which earlier trainings have not recorded."""

from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"

DOUBLE = sa.Float(53)


def upgrade() -> None:
    """Makes their table, empty."""
    keys: dict[str, Any] = dict.fromkeys(("trial_id", "seed", "part", "epoch", "layer"), sa.Integer)
    keys["part"] = sa.String(16)
    op.create_table(
        "evolve_layer",
        *(sa.Column(name, kind, primary_key=True, autoincrement=False) for name, kind in keys.items()),
        *(sa.Column(name, DOUBLE) for name in ("mean", "spread", "norm", "smallest", "largest", "zeros", "dead")),
        sa.Column("histogram", sa.Text, nullable=False),
    )
