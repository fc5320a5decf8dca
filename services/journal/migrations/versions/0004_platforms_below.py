"""How far the journals of the platforms below are pulled, and the nonces of those above that pull from here."""

from alembic import op

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    op.execute(
        "CREATE TABLE peer_feeds (platform text PRIMARY KEY, position bigint NOT NULL DEFAULT 0,"
        " events bigint NOT NULL DEFAULT 0, tries int NOT NULL DEFAULT 0, failing_since timestamptz, last_error text,"
        " pulled_at timestamptz, retry_at timestamptz NOT NULL DEFAULT now(), lease text, leased_until timestamptz)"
    )
    op.execute(
        "CREATE TABLE peer_nonces (platform text NOT NULL, nonce text NOT NULL,"
        " seen_at timestamptz NOT NULL DEFAULT now(), PRIMARY KEY (platform, nonce))"
    )


def downgrade() -> None:
    raise NotImplementedError("forward only: go back with a backup")
