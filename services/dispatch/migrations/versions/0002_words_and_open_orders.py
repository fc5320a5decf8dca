"""Words of orders to search by, in months; the open orders of a unit without its closed ones."""

from alembic import op

revision = "0002"
down_revision = "0001"

STATEMENTS = (
    "CREATE TABLE order_words (work_order_id text NOT NULL, appeal_id text NOT NULL, search tsvector NOT NULL,"
    " PRIMARY KEY (work_order_id, appeal_id)) PARTITION BY RANGE (work_order_id)",
    "CREATE INDEX order_words_search ON order_words USING gin (search)",
    "CREATE TABLE order_words_other PARTITION OF order_words DEFAULT",
    "CREATE INDEX work_orders_open ON work_orders (lead)"
    " WHERE status IN ('dispatched', 'accepted', 'reopened', 'suspended')",
)


def upgrade() -> None:
    for statement in STATEMENTS:
        op.execute(statement)


def downgrade() -> None:
    raise NotImplementedError("forward only: go back with a backup")
