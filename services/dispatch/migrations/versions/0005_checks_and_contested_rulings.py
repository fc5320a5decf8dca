"""On-site checks of a dispute, and the appeal against its ruling."""

from alembic import op

revision = "0005"
down_revision = "0004"

STATEMENTS = (
    "ALTER TABLE disputes ADD COLUMN opened_by text, ADD COLUMN cause text,"
    " ADD COLUMN checks jsonb NOT NULL DEFAULT '[]', ADD COLUMN looking text[] NOT NULL DEFAULT '{}',"
    " ADD COLUMN contest_until timestamptz, ADD COLUMN contest jsonb",
)


def upgrade() -> None:
    for statement in STATEMENTS:
        op.execute(statement)


def downgrade() -> None:
    raise NotImplementedError("forward only: go back with a backup")
