"""Clock sets, supervisions, policies and calendars.

The tables are written out here as they were in this revision; later changes are revisions of their own.
"""

from alembic import op

revision = "0001"
down_revision = None

STATEMENTS = """
CREATE TABLE clock_sets (
  work_order_id text PRIMARY KEY, sequence bigint NOT NULL DEFAULT 0, state jsonb, appeal_ids jsonb, unit text,
  region_code text, lamp text, running boolean NOT NULL DEFAULT false, due_at timestamptz, next_at timestamptz,
  applied_to timestamptz, early jsonb) WITH (fillfactor = 70);
CREATE INDEX clock_sets_lamps ON clock_sets (unit, lamp, due_at, work_order_id) WHERE running;
CREATE INDEX clock_sets_by_due ON clock_sets (lamp, due_at, work_order_id) WHERE running;
CREATE TABLE supervisions (
  id text PRIMARY KEY, work_order_id text NOT NULL, clock text NOT NULL, round int NOT NULL, level int NOT NULL,
  unit text NOT NULL, region_code text NOT NULL, due_at timestamptz NOT NULL, raised_at timestamptz NOT NULL,
  late boolean NOT NULL, withdrawn_at timestamptz, acknowledged_at timestamptz, acknowledged_by text, note text);
CREATE UNIQUE INDEX supervisions_once ON supervisions (work_order_id, clock, round, level) WHERE withdrawn_at IS NULL;
CREATE INDEX supervisions_by_unit ON supervisions (unit, id);
CREATE INDEX supervisions_by_level ON supervisions (level, id);
CREATE TABLE policies (
  version text PRIMARY KEY, data jsonb NOT NULL, effective_from timestamptz NOT NULL, created_by text NOT NULL,
  created_at timestamptz NOT NULL);
CREATE TABLE calendars (
  version text PRIMARY KEY, data jsonb NOT NULL, effective_from timestamptz NOT NULL, created_by text NOT NULL,
  created_at timestamptz NOT NULL);
"""


def upgrade() -> None:
    for statement in STATEMENTS.split(";\n"):
        if statement.strip():
            op.execute(statement)


def downgrade() -> None:
    raise NotImplementedError("forward only: go back with a backup")
