"""Which matters there are, as classify tells of its catalogue: what imported units and duties may name."""

from alembic import op

revision = "0008"
down_revision = "0007"


def upgrade() -> None:
    op.execute(
        "CREATE TABLE catalogues (version bigint PRIMARY KEY, sequence bigint NOT NULL, codes text[] NOT NULL,"
        " effective_from timestamptz)"
    )


def downgrade() -> None:
    raise NotImplementedError("forward only: go back with a backup")
