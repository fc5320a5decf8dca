"""Calendars of units, and which deadlines a new rule moved."""

from alembic import op

revision = "0004"
down_revision = "0003"

STATEMENTS = (
    "ALTER TABLE calendars ADD COLUMN unit text NOT NULL DEFAULT ''",
    "CREATE TABLE moved_deadlines (effective_from timestamptz NOT NULL, work_order_id text NOT NULL,"
    " clock text NOT NULL, round int NOT NULL, unit text NOT NULL, region_code text NOT NULL,"
    " from_at timestamptz, to_at timestamptz, PRIMARY KEY (effective_from, work_order_id, clock, round))",
)


def upgrade() -> None:
    for statement in STATEMENTS:
        op.execute(statement)


def downgrade() -> None:
    raise NotImplementedError("forward only: go back with a backup")
