"""Tables of schema `journal`. `events` is partitioned by month of the moment of writing and kept for ever."""

from sqlalchemy import JSON, BigInteger, Column, DateTime, MetaData, Table, Text

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
