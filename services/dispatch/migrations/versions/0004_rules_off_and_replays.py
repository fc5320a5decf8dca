"""Rules that are switched off; past cases decided again by changed rules, and which of them would move."""

from alembic import op

revision = "0004"
down_revision = "0003"

STATEMENTS = (
    "CREATE TABLE rules_off (rule text PRIMARY KEY, reason text NOT NULL, since timestamptz NOT NULL)",
    "CREATE TABLE replays (id text PRIMARY KEY, state text NOT NULL, change jsonb NOT NULL,"
    " opened_from timestamptz NOT NULL, opened_to timestamptz NOT NULL, cursor text NOT NULL, total bigint NOT NULL,"
    " examined bigint NOT NULL, moved bigint NOT NULL, error text, lease text, leased_until timestamptz,"
    " asked_by text NOT NULL, asked_at timestamptz NOT NULL, ended_at timestamptz)",
    "CREATE TABLE replay_moves (replay_id text NOT NULL REFERENCES replays ON DELETE CASCADE,"
    " work_order_id text NOT NULL, lead text NOT NULL, lead_now text NOT NULL, lead_then text NOT NULL,"
    " rule_now text NOT NULL, rule_then text NOT NULL, PRIMARY KEY (replay_id, work_order_id))",
)


def upgrade() -> None:
    for statement in STATEMENTS:
        op.execute(statement)


def downgrade() -> None:
    raise NotImplementedError("forward only: go back with a backup")
