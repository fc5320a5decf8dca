"""Tables of schema `journal`. `events` is partitioned by month of the moment of writing and kept for ever, the log of
deliveries by day."""

from sqlalchemy import ARRAY, JSON, BigInteger, Column, Date, DateTime, Integer, MetaData, Table, Text

metadata = MetaData(schema="journal")

head = Table(
    "head", metadata, Column("platform", Text, primary_key=True), Column("position", BigInteger, nullable=False)
)

events = Table(
    "events",
    metadata,
    Column("position", BigInteger, primary_key=True),
    Column("written_at", DateTime(timezone=True), primary_key=True),
    Column("id", Text, nullable=False),
    Column("type", Text, nullable=False),
    Column("source", Text, nullable=False),
    Column("subject", Text, nullable=False),
    Column("sequence", BigInteger, nullable=False),
    Column("time", DateTime(timezone=True), nullable=False),
    Column("topic", Text, nullable=False),
    Column("traceparent", Text),
    Column("data", JSON, nullable=False),
)

webhooks = Table(
    "webhooks",
    metadata,
    Column("id", Text, primary_key=True),
    Column("owner", Text, nullable=False),
    Column("url", Text, nullable=False),
    Column("types", ARRAY(Text), nullable=False),
    Column("batch", Integer, nullable=False),
    Column("regions", ARRAY(Text)),
    Column("withheld", ARRAY(Text), nullable=False),
    Column("note", Text),
    Column("give_up_s", Integer, nullable=False),
    Column("state", Text, nullable=False),
    Column("position", BigInteger, nullable=False),
    Column("generation", Integer, nullable=False),
    Column("rotated_at", DateTime(timezone=True)),
    Column("tries", Integer, nullable=False),
    Column("failing_since", DateTime(timezone=True)),
    Column("last_error", Text),
    Column("delivered_at", DateTime(timezone=True)),
    Column("retry_at", DateTime(timezone=True), nullable=False),
    Column("lease", Text),
    Column("leased_until", DateTime(timezone=True)),
    Column("created_at", DateTime(timezone=True), nullable=False),
    Column("created_by", Text, nullable=False),
)

webhook_deliveries = Table(
    "webhook_deliveries",
    metadata,
    Column("number", BigInteger, nullable=False),
    Column("day", Date, nullable=False),
    Column("at", DateTime(timezone=True), nullable=False),
    Column("webhook_id", Text, nullable=False),
    Column("first_position", BigInteger, nullable=False),
    Column("last_position", BigInteger, nullable=False),
    Column("events", Integer, nullable=False),
    Column("attempt", Integer, nullable=False),
    Column("outcome", Text, nullable=False),
    Column("status", Integer),
    Column("error", Text),
    Column("duration_ms", Integer, nullable=False),
)

peer_feeds = Table(
    "peer_feeds",
    metadata,
    Column("platform", Text, primary_key=True),
    # in the other platform's journal: everything up to here was published
    Column("position", BigInteger, nullable=False),
    Column("events", BigInteger, nullable=False),
    Column("tries", Integer, nullable=False),
    Column("failing_since", DateTime(timezone=True)),
    Column("last_error", Text),
    Column("pulled_at", DateTime(timezone=True)),
    Column("retry_at", DateTime(timezone=True), nullable=False),
    Column("lease", Text),
    Column("leased_until", DateTime(timezone=True)),
)

peer_nonces = Table(
    "peer_nonces",
    metadata,
    Column("platform", Text, primary_key=True),
    Column("nonce", Text, primary_key=True),
    Column("seen_at", DateTime(timezone=True), nullable=False),
)
