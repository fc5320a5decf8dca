"""Lamps are listed by deadline: the indexes are in that order and hold what the list and its counts need."""

from alembic import op

revision = "0003"
down_revision = "0002"

STATEMENTS = (
    "DROP INDEX clock_sets_lamps",
    "DROP INDEX clock_sets_by_due",
    "CREATE INDEX clock_sets_of_unit ON clock_sets (unit, due_at, work_order_id) INCLUDE (lamp) WHERE running",
    "CREATE INDEX clock_sets_by_due ON clock_sets (due_at, work_order_id) INCLUDE (lamp) WHERE running",
)


def upgrade() -> None:
    for statement in STATEMENTS:
        op.execute(statement)


def downgrade() -> None:
    raise NotImplementedError("forward only: go back with a backup")
