"""Webhooks, how far each is, and the log of their deliveries by day (partitions are made by the service)."""

from alembic import op

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    op.execute(
        "CREATE TABLE webhooks (id text PRIMARY KEY, owner text NOT NULL, url text NOT NULL, types text[] NOT NULL,"
        " batch int NOT NULL, regions text[], withheld text[] NOT NULL, note text, give_up_s int NOT NULL,"
        " state text NOT NULL DEFAULT 'active', position bigint NOT NULL, generation int NOT NULL DEFAULT 1,"
        " rotated_at timestamptz, tries int NOT NULL DEFAULT 0, failing_since timestamptz, last_error text,"
        " delivered_at timestamptz, retry_at timestamptz NOT NULL DEFAULT now(), lease text, leased_until timestamptz,"
        " created_at timestamptz NOT NULL, created_by text NOT NULL)"
    )
    op.execute("CREATE INDEX webhooks_owner ON webhooks (owner)")
    op.execute("CREATE SEQUENCE webhook_deliveries_number")
    op.execute(
        "CREATE TABLE webhook_deliveries (number bigint NOT NULL DEFAULT nextval('webhook_deliveries_number'),"
        " day date NOT NULL, at timestamptz NOT NULL, webhook_id text NOT NULL, first_position bigint NOT NULL,"
        " last_position bigint NOT NULL, events int NOT NULL, attempt int NOT NULL, outcome text NOT NULL, status int,"
        " error text, duration_ms int NOT NULL) PARTITION BY RANGE (day)"
    )
    op.execute("CREATE INDEX webhook_deliveries_log ON webhook_deliveries (webhook_id, number DESC)")
    op.execute("CREATE TABLE webhook_deliveries_other PARTITION OF webhook_deliveries DEFAULT")


def downgrade() -> None:
    raise NotImplementedError("forward only: go back with a backup")
