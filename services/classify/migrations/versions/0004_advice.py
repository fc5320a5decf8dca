"""What a language model advised about cases that wait for a person."""

from alembic import op

revision = "0004"
down_revision = "0003"

STATEMENTS = (
    """CREATE TABLE advice (
  appeal_id text PRIMARY KEY, state text NOT NULL, tries int NOT NULL, again_at timestamptz NOT NULL,
  tokens bigint NOT NULL, digest text, model text, matter text, why text, at timestamptz) WITH (fillfactor = 80)""",
    "CREATE INDEX advice_by_digest ON advice (digest) WHERE state = 'given'",
    "CREATE INDEX advice_by_time ON advice (at)",
)


def upgrade() -> None:
    for statement in STATEMENTS:
        op.execute(statement)


def downgrade() -> None:
    raise NotImplementedError("forward only: go back with a backup")
