"""Tags have a state and a time; proposals about them are of several kinds, and can be undone."""

from alembic import op

revision = "0009"
down_revision = "0008"

STATEMENTS = (
    "ALTER TABLE tags ADD COLUMN state text NOT NULL DEFAULT 'active', ADD COLUMN valid_from timestamptz,"
    " ADD COLUMN valid_to timestamptz, ADD COLUMN merged_into text",
    # `before`: the tags as they were, so that an acceptance can be undone
    "ALTER TABLE tag_proposals ADD COLUMN kind text NOT NULL DEFAULT 'word', ADD COLUMN score real,"
    " ADD COLUMN detail jsonb, ADD COLUMN examples jsonb, ADD COLUMN before jsonb",
    """CREATE TABLE appeal_units (
  appeal_id text PRIMARY KEY, unit text NOT NULL, order_id text NOT NULL, sequence bigint NOT NULL)
  WITH (fillfactor = 80)""",
    "CREATE TABLE tag_months (month date PRIMARY KEY, at timestamptz NOT NULL, labels int NOT NULL,"
    " proposals int NOT NULL)",
)


def upgrade() -> None:
    for statement in STATEMENTS:
        op.execute(statement)


def downgrade() -> None:
    raise NotImplementedError("forward only: go back with a backup")
