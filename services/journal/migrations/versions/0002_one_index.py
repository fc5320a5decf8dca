"""One index instead of two: the key begins with the position, by which the feed reads."""

from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    op.execute("ALTER TABLE events DROP CONSTRAINT events_pkey")
    op.execute("ALTER TABLE events ADD PRIMARY KEY (position, written_at)")
    op.execute("DROP INDEX events_position")


def downgrade() -> None:
    raise NotImplementedError("forward only: go back with a backup")
