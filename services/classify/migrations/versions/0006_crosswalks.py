"""How the codes of one catalogue version become those of the next, and which version labels and models speak."""

from alembic import op

revision = "0006"
down_revision = "0005"

STATEMENTS = (
    "ALTER TABLE catalogue_versions ADD COLUMN compared_with bigint",
    """CREATE TABLE catalogue_pairs (
  old_version bigint NOT NULL, new_version bigint NOT NULL, old text NOT NULL, new text NOT NULL, score real NOT NULL,
  words real, meaning real, shared real, source text NOT NULL, state text NOT NULL, decided_at timestamptz,
  decided_by text, PRIMARY KEY (new_version, old_version, old, new))""",
    # an old code leads to one new code
    """CREATE UNIQUE INDEX catalogue_pairs_accepted ON catalogue_pairs (new_version, old_version, old)
  WHERE state = 'accepted'""",
    "ALTER TABLE models ADD COLUMN catalogue_version bigint",
    # older labels have it in their snapshot alone
    "ALTER TABLE labels ADD COLUMN catalogue_version text",
)


def upgrade() -> None:
    for statement in STATEMENTS:
        op.execute(statement)


def downgrade() -> None:
    raise NotImplementedError("forward only: go back with a backup")
