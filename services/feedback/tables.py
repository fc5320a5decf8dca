"""Tables of schema `feedback`."""

from sqlalchemy import Column, DateTime, Index, Integer, MetaData, Table, Text, text

SCHEMA = "feedback"
metadata = MetaData(schema=SCHEMA)

cases = Table(
    "cases",
    metadata,
    Column("appeal_id", Text, primary_key=True),
    # lists and the aggregate are JSON as text: nobody but this service's code reads it
    # from intake; null until its event was read (topics overtake each other)
    Column("channel", Text),
    Column("groups", Text),
    Column("tokens", Text),
    # completions read before the appeal itself
    Column("early", Text),
    # the aggregate (domain.Feedback) and what lists need of it
    Column("state", Text),
    Column("status", Text, nullable=False, server_default="waiting"),
    Column("unit", Text),
    Column("region_code", Text),
    Column("next_attempt_at", DateTime(timezone=True)),
    # a seat's lease, in real time
    Column("leased_by", Text),
    Column("leased_until", DateTime(timezone=True)),
)
Index(
    "cases_callbacks",
    cases.c.next_attempt_at,
    cases.c.appeal_id,
    postgresql_where=text("next_attempt_at IS NOT NULL"),
)
Index("cases_decisions", cases.c.appeal_id, postgresql_where=text("status = 'awaiting_decision'"))

links = Table(
    "links",
    metadata,
    # SHA-256 (hex) of the token: the token itself is known to intake and the citizen only
    Column("sha256", Text, primary_key=True),
    Column("appeal_id", Text, nullable=False),
    Column("round", Integer, nullable=False),
)

exclusions = Table(
    "exclusions",
    metadata,
    Column("id", Text, primary_key=True),
    Column("appeal_id", Text, nullable=False),
    Column("unit", Text, nullable=False),
    Column("state", Text, nullable=False),
    Column("reason", Text, nullable=False),
    Column("evidence", Text),
    Column("asked_by", Text, nullable=False),
    Column("asked_at", DateTime(timezone=True), nullable=False),
    Column("decided_by", Text),
    Column("decision", Text),
    Column("decided_at", DateTime(timezone=True)),
)
Index("exclusions_by_state", exclusions.c.state, exclusions.c.id)
