"""Hand-overs between platforms: how each stands, what is to be sent, and the nonces that were used."""

from alembic import op

revision = "0005"
down_revision = "0004"

STATEMENTS = (
    "CREATE TABLE handoffs (id text PRIMARY KEY, role text NOT NULL, sender text NOT NULL, receiver text NOT NULL,"
    " path text[] NOT NULL, state text NOT NULL, appeal_id text, work_order_id text, digest bytea, body text,"
    " contact text, mirror text, told text, sequence int NOT NULL DEFAULT 0, decision_seq int NOT NULL DEFAULT 0,"
    " sent_seq int NOT NULL DEFAULT 0, received_seq int NOT NULL DEFAULT 0, offered_at timestamptz NOT NULL,"
    " updated_at timestamptz NOT NULL) WITH (fillfactor = 80)",
    "CREATE TABLE peer_messages (id text PRIMARY KEY, handoff_id text NOT NULL, to_platform text NOT NULL,"
    " kind text NOT NULL, seq int NOT NULL, body text, attempts int NOT NULL DEFAULT 0,"
    " next_at timestamptz NOT NULL DEFAULT now(), leased_until timestamptz NOT NULL DEFAULT '-infinity', error text,"
    " created_at timestamptz NOT NULL DEFAULT now(), UNIQUE (handoff_id, to_platform, kind, seq))",
    "CREATE INDEX peer_messages_due ON peer_messages (to_platform, id)",
    "CREATE TABLE peer_nonces (platform text NOT NULL, nonce text NOT NULL, seen_at timestamptz NOT NULL DEFAULT now(),"
    " PRIMARY KEY (platform, nonce))",
)


def upgrade() -> None:
    for statement in STATEMENTS:
        op.execute(statement)


def downgrade() -> None:
    raise NotImplementedError("forward only: go back with a backup")
