"""Tables that the runtime keeps in every service's schema: outbox, inbox, timers, dead letters, idempotency keys."""

from sqlalchemy import (
    BigInteger,
    Column,
    DateTime,
    Identity,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    Table,
    Text,
    text,
)
from sqlalchemy.dialects.postgresql import JSONB

INBOX_DAYS = 15
"""how long event ids are kept; older repeats are stopped by their sequence (architecture.md, "The runtime")"""


def runtime_tables(schema: str) -> MetaData:
    """The runtime's tables in `schema`. The partitions of `inbox_events` are made by `shared.bus.inbox`."""
    metadata = MetaData(schema=schema)
    Table(
        "outbox",
        metadata,
        Column("id", BigInteger, Identity(), primary_key=True),
        Column("topic", Text, nullable=False),
        Column("key", Text, nullable=False),
        Column("headers", JSONB, nullable=False),
        Column("value", LargeBinary, nullable=False),
        Column("parked", Text),
        Column("created_at", DateTime(timezone=True), server_default=text("now()"), nullable=False),
    )
    Table(
        "inbox_offsets",
        metadata,
        Column("topic", Text, primary_key=True),
        Column("partition", Integer, primary_key=True),
        Column("next_offset", BigInteger, nullable=False),
    )
    Table(
        "inbox_sequences",
        metadata,
        Column("topic", Text, primary_key=True),
        Column("key", Text, primary_key=True),
        Column("last_sequence", BigInteger, nullable=False),
    )
    Table(
        "inbox_early",
        metadata,
        Column("topic", Text, primary_key=True),
        Column("key", Text, primary_key=True),
        Column("sequence", BigInteger, primary_key=True),
        Column("headers", JSONB, nullable=False),
        Column("value", LargeBinary, nullable=False),
        Column("read_at", DateTime(timezone=True), server_default=text("now()"), nullable=False),
    )
    timers = Table(
        "timers",
        metadata,
        Column("kind", Text, primary_key=True),
        Column("key", Text, primary_key=True),
        Column("due_at", DateTime(timezone=True), nullable=False),
        Column("payload", JSONB, nullable=False),
        Column("attempts", Integer, nullable=False, server_default="0"),
        Column("retry_at", DateTime(timezone=True)),
        Column("error", Text),
    )
    Index("timers_due", timers.c.due_at)
    dead = Table(
        "dead_letters",
        metadata,
        Column("id", BigInteger, Identity(), primary_key=True),
        Column("topic", Text, nullable=False),
        Column("partition", Integer, nullable=False),
        Column("log_offset", BigInteger, nullable=False),
        Column("key", Text, nullable=False),
        Column("headers", JSONB, nullable=False),
        Column("value", LargeBinary, nullable=False),
        Column("reason", Text, nullable=False),
        Column("attempts", Integer, nullable=False, server_default="0"),
        # parked: failed, holds its key back; waiting: a later record of a parked key
        Column("status", Text, nullable=False),
        Column("created_at", DateTime(timezone=True), server_default=text("now()"), nullable=False),
        Column("ended_at", DateTime(timezone=True)),
    )
    Index("dead_letters_open", dead.c.topic, dead.c.key, postgresql_where=text("status IN ('parked', 'waiting')"))
    Table(
        "idempotency_keys",
        metadata,
        Column("scope", LargeBinary, primary_key=True),
        Column("body_digest", LargeBinary, nullable=False),
        Column("answer", JSONB),
        Column("created_at", DateTime(timezone=True), server_default=text("now()"), nullable=False),
    )
    Table(
        "audit",
        metadata,
        Column("position", BigInteger, primary_key=True),
        Column("at", DateTime(timezone=True), nullable=False),
        Column("actor", Text, nullable=False),
        Column("action", Text, nullable=False),
        Column("subject", Text, nullable=False),
        Column("reason", Text),
        Column("detail", JSONB, nullable=False),
        Column("previous", LargeBinary, nullable=False),
        Column("digest", LargeBinary, nullable=False),
    )
    return metadata
