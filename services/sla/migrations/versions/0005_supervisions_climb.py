"""Who was told of a supervision, and how high it climbed because nobody took notice."""

from alembic import op

revision = "0005"
down_revision = "0004"

STATEMENTS = (
    "ALTER TABLE supervisions ADD COLUMN audience text NOT NULL DEFAULT '',"
    " ADD COLUMN reach int NOT NULL DEFAULT 0, ADD COLUMN told_at timestamptz, ADD COLUMN climbed_at timestamptz",
    "UPDATE supervisions SET reach = level, told_at = raised_at",
    "CREATE INDEX supervisions_untold ON supervisions (audience) WHERE told_at IS NULL AND withdrawn_at IS NULL",
)


def upgrade() -> None:
    for statement in STATEMENTS:
        op.execute(statement)


def downgrade() -> None:
    raise NotImplementedError("forward only: go back with a backup")
