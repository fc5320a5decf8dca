"""How many facts of a catalogue version were published: its `sequence`."""

from alembic import op

revision = "0011"
down_revision = "0010"


def upgrade() -> None:
    op.execute("ALTER TABLE catalogue_versions ADD COLUMN told int NOT NULL DEFAULT 0")


def downgrade() -> None:
    raise NotImplementedError("forward only: go back with a backup")
