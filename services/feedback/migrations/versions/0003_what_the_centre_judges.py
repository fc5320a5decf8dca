"""Media of call-backs, reviews of exclusions, false completions, and what signs of made ratings are looked for in.

What was suspected before stands in the states of the cases and becomes rows here.
"""

from alembic import op

revision = "0003"
down_revision = "0002"

STATEMENTS = r"""
ALTER TABLE cases ADD COLUMN medium text, ADD COLUMN reporter text;
ALTER TABLE exclusions ADD COLUMN review text, ADD COLUMN review_state text;
CREATE TABLE false_completions (
  appeal_id text NOT NULL, round int NOT NULL, work_order_id text NOT NULL, unit text NOT NULL, state text NOT NULL,
  suspected_at timestamptz NOT NULL, decided_by text, decision text, decided_at timestamptz, review text,
  review_state text, PRIMARY KEY (appeal_id, round));
CREATE INDEX false_completions_by_state ON false_completions (state, appeal_id, round);
INSERT INTO false_completions (appeal_id, round, work_order_id, unit, state, suspected_at)
  SELECT c.appeal_id, (r->>'number')\:\:int, r->'completion'->>'work_order_id', r->'completion'->>'unit', 'suspected',
    (r->>'closed_at')\:\:timestamptz
  FROM cases c, jsonb_array_elements(c.state\:\:jsonb->'rounds') r
  WHERE c.state LIKE '%"false_completion_suspected"\\:true%'
    AND r->'completion'->>'solved' = 'true' AND r->'answer'->>'solved' = 'false';
CREATE TABLE rated (
  appeal_id text NOT NULL, round int NOT NULL, work_order_id text NOT NULL, unit text NOT NULL, reporter text,
  at timestamptz NOT NULL, device text, words text, PRIMARY KEY (appeal_id, round));
CREATE INDEX rated_by_time ON rated (at);
CREATE TABLE rating_keys (period text PRIMARY KEY, key bytea NOT NULL);
CREATE TABLE signs (id text PRIMARY KEY, sequence bigint NOT NULL, number int NOT NULL);
"""


def upgrade() -> None:
    for statement in STATEMENTS.split(";\n"):
        if statement.strip():
            op.execute(statement)


def downgrade() -> None:
    raise NotImplementedError("forward only: go back with a backup")
