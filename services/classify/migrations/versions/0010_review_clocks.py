"""How late reviews are: the overdue ones are given to seats first."""

from alembic import op

revision = "0010"
down_revision = "0009"

STATEMENTS = (
    """CREATE TABLE review_clocks (
  appeal_id text PRIMARY KEY, due_at timestamptz NOT NULL, lamp text NOT NULL, level int NOT NULL,
  sequence bigint NOT NULL) WITH (fillfactor = 70)""",
    "CREATE INDEX review_clocks_late ON review_clocks (level DESC, due_at) WHERE lamp = 'red'",
)


def upgrade() -> None:
    for statement in STATEMENTS:
        op.execute(statement)


def downgrade() -> None:
    raise NotImplementedError("forward only: go back with a backup")
