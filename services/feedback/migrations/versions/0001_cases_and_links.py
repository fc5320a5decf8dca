"""Cases with their feedback, rating links, exclusions.

The tables are written out here as they were in this revision; later changes are revisions of their own.
"""

from alembic import op

revision = "0001"
down_revision = None

STATEMENTS = """
CREATE TABLE cases (
  appeal_id text PRIMARY KEY, channel text, groups jsonb, tokens jsonb, early jsonb, state jsonb,
  status text NOT NULL DEFAULT 'waiting', unit text, region_code text, next_attempt_at timestamptz, leased_by text,
  leased_until timestamptz) WITH (fillfactor = 70);
CREATE INDEX cases_callbacks ON cases (next_attempt_at, appeal_id) WHERE next_attempt_at IS NOT NULL;
CREATE INDEX cases_decisions ON cases (appeal_id) WHERE status = 'awaiting_decision';
CREATE TABLE links (sha256 text PRIMARY KEY, appeal_id text NOT NULL, round int NOT NULL);
CREATE TABLE exclusions (
  id text PRIMARY KEY, appeal_id text NOT NULL, unit text NOT NULL, state text NOT NULL, reason text NOT NULL,
  evidence text, asked_by text NOT NULL, asked_at timestamptz NOT NULL, decided_by text, decision text,
  decided_at timestamptz);
CREATE INDEX exclusions_by_state ON exclusions (state, id);
"""


def upgrade() -> None:
    for statement in STATEMENTS.split(";\n"):
        if statement.strip():
            op.execute(statement)


def downgrade() -> None:
    raise NotImplementedError("forward only: go back with a backup")
