"""Who looks at what in the review queue, and the second opinions that measure how far persons agree."""

from alembic import op

revision = "0003"
down_revision = "0002"

STATEMENTS = (
    """CREATE TABLE review_leases (appeal_id text PRIMARY KEY, seat text NOT NULL, until timestamptz NOT NULL)
  WITH (fillfactor = 70)""",
    """CREATE TABLE second_opinions (
  appeal_id text PRIMARY KEY, asked_at timestamptz NOT NULL, region_code text NOT NULL, label text NOT NULL,
  first_actor text NOT NULL, first_matter text NOT NULL, actor text, matter text, at timestamptz)""",
    "CREATE INDEX second_opinions_open ON second_opinions (asked_at) WHERE actor IS NULL",
    "CREATE INDEX second_opinions_by_time ON second_opinions (at) WHERE actor IS NOT NULL",
    'CREATE INDEX labels_in_review_by_class ON labels ("class", appeal_id) WHERE needs_review',
)


def upgrade() -> None:
    for statement in STATEMENTS:
        op.execute(statement)


def downgrade() -> None:
    raise NotImplementedError("forward only: go back with a backup")
