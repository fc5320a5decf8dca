"""A round is late by sla's latest event about it, not by whether any correction was ever published."""

from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    op.execute("ALTER TABLE late_rounds ADD COLUMN sequence bigint NOT NULL DEFAULT 0")
    op.execute("ALTER TABLE late_rounds ALTER COLUMN sequence DROP DEFAULT")
    op.execute("ALTER TABLE late_rounds ADD COLUMN late boolean NOT NULL DEFAULT true")
    op.execute("UPDATE late_rounds SET late = NOT corrected")
    op.execute("ALTER TABLE late_rounds ALTER COLUMN late DROP DEFAULT")
    op.execute("ALTER TABLE late_rounds DROP COLUMN corrected")


def downgrade() -> None:
    raise NotImplementedError("forward only: go back with a backup")
