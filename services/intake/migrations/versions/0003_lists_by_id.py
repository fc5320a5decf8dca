"""Lists go by id, which says when an appeal was received: their indexes end with it, and `received_at` needs none."""

from alembic import op

revision = "0003"
down_revision = "0002"

STATEMENTS = (
    "DROP INDEX cases_newest",
    "DROP INDEX cases_status",
    "DROP INDEX cases_matter",
    "CREATE INDEX cases_status ON cases (status, appeal_id)",
    "CREATE INDEX cases_matter ON cases (matter, appeal_id)",
    "CREATE INDEX cases_channel ON cases (channel, appeal_id)",
)


def upgrade() -> None:
    for statement in STATEMENTS:
        op.execute(statement)


def downgrade() -> None:
    raise NotImplementedError("forward only: go back with a backup")
