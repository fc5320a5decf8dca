"""JSON that only this service's code reads is text: PostgreSQL need not parse and print it at every change."""

from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    changes = (f"ALTER COLUMN {name} TYPE text USING {name}::text" for name in ("groups", "tokens", "early", "state"))
    op.execute(f"ALTER TABLE cases {', '.join(changes)}".replace(":", "\\:"))


def downgrade() -> None:
    raise NotImplementedError("forward only: go back with a backup")
