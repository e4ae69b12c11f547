"""How much larger an update could be before it raises the loss, which earlier trainings have not measured."""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"


def upgrade() -> None:
    """Makes its column, empty."""
    op.add_column("evolve_step", sa.Column("critical_ratio", sa.Float(53)))
