"""Roads and estates that confirmed cases have told the district of."""

from alembic import op

revision = "0004"
down_revision = "0003"

STATEMENTS = (
    """CREATE TABLE learned_places (
  name text NOT NULL, county text NOT NULL, seen int NOT NULL, state text NOT NULL, last_seen timestamptz NOT NULL,
  decided_by text, decided_at timestamptz, PRIMARY KEY (name, county))""",
    """CREATE TABLE place_lessons (
  only_row boolean PRIMARY KEY DEFAULT true CHECK (only_row), position uuid NOT NULL)""",
    "INSERT INTO place_lessons (position) VALUES ('00000000-0000-0000-0000-000000000000')",
)


def upgrade() -> None:
    for statement in STATEMENTS:
        op.execute(statement)


def downgrade() -> None:
    raise NotImplementedError("forward only: go back with a backup")
