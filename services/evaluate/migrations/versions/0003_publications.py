"""Published months, and the count of the journal that they are made of.

A unit's name and region say which dispatch they come from, and a repeat its order: what is kept must not depend on the
order in which events of different keys are read. The defaults are for the release before,
which goes on writing meanwhile.
"""

from alembic import op

revision = "0003"
down_revision = "0002"

COUNTS = ("cases", "moves", "late_rounds", "repeats", "units")


def upgrade() -> None:
    op.execute("ALTER TABLE repeats ADD COLUMN work_order_id text NOT NULL DEFAULT ''")
    op.execute("ALTER TABLE units ADD COLUMN said_at timestamptz NOT NULL DEFAULT '-infinity'")
    op.execute("ALTER TABLE units ADD COLUMN said_by text NOT NULL DEFAULT ''")
    op.execute(
        "CREATE TABLE publications (platform text NOT NULL, period text NOT NULL, position bigint NOT NULL,"
        " formula text NOT NULL, digest text NOT NULL, body bytea NOT NULL, published_at timestamptz NOT NULL,"
        " published_by text NOT NULL, PRIMARY KEY (platform, period))"
    )
    op.execute("CREATE TABLE ledger_reading (platform text PRIMARY KEY, position bigint NOT NULL)")
    # a crash of the server empties what a rebuild has read, its position too: then it is read again
    op.execute("CREATE UNLOGGED TABLE rebuild_reading (LIKE ledger_reading INCLUDING ALL)")
    op.execute("CREATE UNLOGGED TABLE rebuild_publications (LIKE publications INCLUDING ALL)")
    for name in COUNTS:
        op.execute(f"CREATE TABLE ledger_{name} (LIKE {name} INCLUDING ALL)")
        op.execute(f"CREATE UNLOGGED TABLE rebuild_{name} (LIKE {name} INCLUDING ALL)")


def downgrade() -> None:
    raise NotImplementedError("forward only: go back with a backup")
