"""The journal: one head per platform, events by month of writing. Partitions are made by the service."""

from alembic import op

revision = "0001"
down_revision = None


def upgrade() -> None:
    op.execute("CREATE TABLE head (platform text PRIMARY KEY, position bigint NOT NULL)")
    op.execute(
        "CREATE TABLE events (written_at timestamptz NOT NULL, position bigint NOT NULL, id text NOT NULL,"
        " type text NOT NULL, source text NOT NULL, subject text NOT NULL, sequence bigint NOT NULL,"
        " time timestamptz NOT NULL, topic text NOT NULL, traceparent text, data json NOT NULL,"
        " PRIMARY KEY (written_at, position)) PARTITION BY RANGE (written_at)"
    )
    op.execute("CREATE INDEX events_position ON events (position)")


def downgrade() -> None:
    raise NotImplementedError("forward only: go back with a backup")
