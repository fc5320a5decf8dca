"""What was said lately, found by place and words: for suggesting that two citizens speak of the same event."""

from alembic import op

revision = "0002"
down_revision = "0001"

STATEMENTS = (
    # the day comes last in the key: a search reads the keys of a day, not all its rows
    """CREATE TABLE recent (
  day date NOT NULL, appeal_id text NOT NULL, received_at timestamptz NOT NULL, pseudonym text,
  region text NOT NULL, keys int[] NOT NULL, sketch int[] NOT NULL, PRIMARY KEY (appeal_id, day)
) PARTITION BY RANGE (day)""",
    # entries go where they belong at once: a list of pending ones would be read by every search
    "CREATE INDEX recent_by_keys ON recent USING gin (keys) WITH (fastupdate = off)",
    "CREATE TABLE recent_other PARTITION OF recent DEFAULT",
)


def upgrade() -> None:
    for statement in STATEMENTS:
        op.execute(statement)


def downgrade() -> None:
    raise NotImplementedError("forward only: go back with a backup")
