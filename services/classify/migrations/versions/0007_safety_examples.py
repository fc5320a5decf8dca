"""Sentences with a safety word that a person judged to be no danger."""

from alembic import op

revision = "0007"
down_revision = "0006"

STATEMENTS = (
    """CREATE TABLE safety_examples (
  id text PRIMARY KEY, clause text NOT NULL, words text[] NOT NULL, appeal_id text NOT NULL, state text NOT NULL,
  at timestamptz NOT NULL, actor text NOT NULL, decided_at timestamptz, decided_by text)""",
)


def upgrade() -> None:
    for statement in STATEMENTS:
        op.execute(statement)


def downgrade() -> None:
    raise NotImplementedError("forward only: go back with a backup")
