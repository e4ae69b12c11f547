"""Where migrations begin: the tables of version 1, as evolve made them before there were migrations."""

revision = "0001"
down_revision = None


def upgrade() -> None:
    """Nothing: such a database is there already."""
