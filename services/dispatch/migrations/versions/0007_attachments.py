"""Which files belong to which case: what evidence may name."""

from alembic import op

revision = "0007"
down_revision = "0006"


def upgrade() -> None:
    op.execute(
        "CREATE TABLE attachments (id text PRIMARY KEY, sequence bigint NOT NULL, appeal_id text NOT NULL,"
        " removed boolean NOT NULL)"
    )


def downgrade() -> None:
    raise NotImplementedError("forward only: go back with a backup")
