"""How a model did in the shadow of the present one, and which one it replaced."""

from alembic import op

revision = "0008"
down_revision = "0007"


def upgrade() -> None:
    op.execute("ALTER TABLE models ADD COLUMN shadow jsonb, ADD COLUMN replaced text, ADD COLUMN turn bigint")
    op.execute("UPDATE models SET turn = 0 WHERE activated_at IS NOT NULL")


def downgrade() -> None:
    raise NotImplementedError("forward only: go back with a backup")
