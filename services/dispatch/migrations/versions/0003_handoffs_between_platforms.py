"""A hand-over keeps what was last published of it; those of other platforms have no order here."""

from alembic import op

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    op.execute("ALTER TABLE handoffs ADD COLUMN snapshot text")


def downgrade() -> None:
    raise NotImplementedError("forward only: go back with a backup")
