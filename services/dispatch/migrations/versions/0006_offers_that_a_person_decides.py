"""What a person reads of an offer of another platform before he takes or refuses it."""

from alembic import op

revision = "0006"
down_revision = "0005"


def upgrade() -> None:
    op.execute("ALTER TABLE handoffs ADD COLUMN text text")


def downgrade() -> None:
    raise NotImplementedError("forward only: go back with a backup")
