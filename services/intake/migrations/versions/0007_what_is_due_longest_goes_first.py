"""Messages to other platforms leave in the order in which they are due."""

from alembic import op

revision = "0007"
down_revision = "0006"


def upgrade() -> None:
    op.execute("DROP INDEX peer_messages_due")
    op.execute("CREATE INDEX peer_messages_due ON peer_messages (to_platform, next_at)")


def downgrade() -> None:
    raise NotImplementedError("forward only: go back with a backup")
