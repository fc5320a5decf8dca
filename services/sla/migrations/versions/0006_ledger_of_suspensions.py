"""The ledger of suspensions and extensions: asked, decided, ended."""

from alembic import op

revision = "0006"
down_revision = "0005"

STATEMENTS = (
    "CREATE TABLE suspensions (id text PRIMARY KEY, work_order_id text NOT NULL, what text NOT NULL,"
    " unit text NOT NULL, region_code text NOT NULL, seconds bigint NOT NULL, reason text NOT NULL,"
    " evidence jsonb NOT NULL, requested_by text, requested_at timestamptz,"
    " status text NOT NULL, decided_by text,"
    " decided_at timestamptz, decision text, until_at timestamptz, ended_at timestamptz, ended_by text)",
    "CREATE INDEX suspensions_of_order ON suspensions (work_order_id)",
    "CREATE INDEX suspensions_by_time ON suspensions (requested_at, id)",
)


def upgrade() -> None:
    for statement in STATEMENTS:
        op.execute(statement)


def downgrade() -> None:
    raise NotImplementedError("forward only: go back with a backup")
