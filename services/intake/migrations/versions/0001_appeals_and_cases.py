"""Appeals, their vault, and the projection of the case.

The tables are written out here as they were in this revision; later changes are revisions of their own.
"""

from alembic import op

revision = "0001"
down_revision = None

STATEMENTS = """
CREATE SEQUENCE reference_numbers AS bigint MINVALUE 1;
CREATE TABLE appeals (
  appeal_id uuid PRIMARY KEY, reference_no text NOT NULL, source_platform text NOT NULL,
  received_at timestamptz NOT NULL, sequence int NOT NULL, snapshot jsonb NOT NULL, search tsvector NOT NULL)
  PARTITION BY RANGE (appeal_id);
CREATE INDEX appeals_search ON appeals USING gin (search);
CREATE TABLE vault (
  appeal_id uuid PRIMARY KEY, key_id text NOT NULL, sealed bytea NOT NULL) PARTITION BY RANGE (appeal_id);
CREATE TABLE external_keys (digest bytea PRIMARY KEY, appeal_id uuid NOT NULL, body_digest bytea NOT NULL);
CREATE TABLE reference_keys (reference_no text PRIMARY KEY, appeal_id uuid NOT NULL);
CREATE TABLE cases (
  appeal_id uuid PRIMARY KEY, received_at timestamptz NOT NULL, status text NOT NULL, own_status text NOT NULL,
  channel text NOT NULL, region_code text NOT NULL, matter text, tags text[] NOT NULL, units text[] NOT NULL)
  PARTITION BY RANGE (appeal_id);
CREATE INDEX cases_newest ON cases (received_at DESC, appeal_id DESC);
CREATE INDEX cases_status ON cases (status, received_at DESC, appeal_id DESC);
CREATE INDEX cases_matter ON cases (matter, received_at DESC, appeal_id DESC);
CREATE INDEX cases_region ON cases (region_code text_pattern_ops);
CREATE INDEX cases_units ON cases USING gin (units);
CREATE INDEX cases_tags ON cases USING gin (tags);
CREATE TABLE case_labels (
  appeal_id uuid PRIMARY KEY, sequence int NOT NULL, matter text NOT NULL, tags text[] NOT NULL,
  region_code text NOT NULL, needs_review boolean NOT NULL, label jsonb NOT NULL) PARTITION BY RANGE (appeal_id);
CREATE TABLE case_orders (
  work_order_id uuid PRIMARY KEY, sequence int NOT NULL, appeal_ids uuid[] NOT NULL, status text NOT NULL,
  lead text NOT NULL, lead_name text NOT NULL, co_handlers text[] NOT NULL, version int NOT NULL,
  opened_at timestamptz NOT NULL, in_review boolean NOT NULL, parent_id uuid, handoff jsonb, result text)
  PARTITION BY RANGE (work_order_id);
CREATE TABLE order_appeals (
  appeal_id uuid NOT NULL, work_order_id uuid NOT NULL, PRIMARY KEY (appeal_id, work_order_id))
  PARTITION BY RANGE (appeal_id);
CREATE TABLE case_clocks (
  work_order_id uuid PRIMARY KEY, sequence int NOT NULL, clocks jsonb NOT NULL) PARTITION BY RANGE (work_order_id);
CREATE TABLE case_feedback (
  appeal_id uuid PRIMARY KEY, sequence int NOT NULL, status text NOT NULL, method text NOT NULL, round int NOT NULL,
  feedback jsonb NOT NULL) PARTITION BY RANGE (appeal_id);
CREATE TABLE timeline (
  appeal_id uuid NOT NULL, event_id text NOT NULL, at timestamptz NOT NULL, type text NOT NULL, actor text NOT NULL,
  words text NOT NULL, reason text, PRIMARY KEY (appeal_id, event_id)) PARTITION BY RANGE (appeal_id);
"""

PARTITIONED = (
    "appeals",
    "vault",
    "cases",
    "case_labels",
    "case_orders",
    "order_appeals",
    "case_clocks",
    "case_feedback",
    "timeline",
)


def upgrade() -> None:
    for statement in STATEMENTS.split(";\n"):
        if statement.strip():
            op.execute(statement)
    for table in PARTITIONED:
        # rows whose month has no partition yet, or whose id is no UUIDv7; months are made by partitions.py
        op.execute(f"CREATE TABLE {table}_other PARTITION OF {table} DEFAULT")


def downgrade() -> None:
    raise NotImplementedError("forward only: go back with a backup")
