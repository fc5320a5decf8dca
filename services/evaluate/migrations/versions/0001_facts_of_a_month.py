"""Cases, moves, late rounds, repeats, units and formulas.

The tables are written out here as they were in this revision; later changes are revisions of their own.
"""

from alembic import op

revision = "0001"
down_revision = None

STATEMENTS = """
CREATE TABLE cases (
  platform text NOT NULL, appeal_id text NOT NULL, sequence bigint NOT NULL, work_order_id text NOT NULL,
  unit text NOT NULL, closed_at timestamptz, period text,
  closed int NOT NULL DEFAULT 0, asked int NOT NULL DEFAULT 0, contacted int NOT NULL DEFAULT 0,
  solved int NOT NULL DEFAULT 0, answered int NOT NULL DEFAULT 0, satisfied int NOT NULL DEFAULT 0,
  second_handled int NOT NULL DEFAULT 0, excluded int NOT NULL DEFAULT 0,
  false_completions_suspected int NOT NULL DEFAULT 0,
  PRIMARY KEY (platform, appeal_id)) WITH (fillfactor = 80);
CREATE INDEX cases_by_period ON cases (platform, period, unit) WHERE period IS NOT NULL;
CREATE INDEX cases_by_order ON cases (platform, work_order_id);
CREATE TABLE moves (
  platform text NOT NULL, work_order_id text NOT NULL, sequence bigint NOT NULL, kind text NOT NULL,
  unit text NOT NULL, period text NOT NULL, PRIMARY KEY (platform, work_order_id, sequence));
CREATE INDEX moves_by_period ON moves (platform, period, unit, kind);
CREATE TABLE late_rounds (
  platform text NOT NULL, work_order_id text NOT NULL, round int NOT NULL, corrected boolean NOT NULL,
  PRIMARY KEY (platform, work_order_id, round));
CREATE TABLE repeats (
  platform text NOT NULL, appeal_id text NOT NULL, repeat_of text NOT NULL, period text NOT NULL,
  PRIMARY KEY (platform, appeal_id));
CREATE INDEX repeats_by_period ON repeats (platform, period);
CREATE TABLE units (
  platform text NOT NULL, unit text NOT NULL, name text NOT NULL, region_code text NOT NULL,
  PRIMARY KEY (platform, unit));
CREATE TABLE formulas (
  version text PRIMARY KEY, effective_from text NOT NULL, body jsonb NOT NULL, created_by text NOT NULL,
  created_at timestamptz NOT NULL);
CREATE UNIQUE INDEX formulas_by_start ON formulas (effective_from);
"""


def upgrade() -> None:
    for statement in STATEMENTS.split(";\n"):
        if statement.strip():
            op.execute(statement)


def downgrade() -> None:
    raise NotImplementedError("forward only: go back with a backup")
