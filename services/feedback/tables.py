"""Tables of schema `feedback`."""

from typing import Any

from sqlalchemy import (
    BigInteger,
    Column,
    DateTime,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    Table,
    Text,
    text,
)

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
    # the pseudonym, null for anonymous ones: many ratings from one device are one citizen's or they are not
    Column("reporter", Text),
    # completions read before the appeal itself
    Column("early", Text),
    # the aggregate (domain.Feedback) and what lists need of it
    Column("state", Text),
    Column("status", Text, nullable=False, server_default="waiting"),
    Column("unit", Text),
    Column("region_code", Text),
    Column("next_attempt_at", DateTime(timezone=True)),
    # by what a seat asks; null (also in rows of the release before) is the phone
    Column("medium", Text),
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


def _judged() -> tuple[Column[Any], ...]:
    return (
        Column("state", Text, nullable=False),
        # of the first decision
        Column("decided_by", Text),
        Column("decision", Text),
        Column("decided_at", DateTime(timezone=True)),
        # domain.Review as JSON, and its state: requested, upheld, overturned
        Column("review", Text),
        Column("review_state", Text),
    )


JUDGED = tuple(column.name for column in _judged())
"""the columns that a decision changes"""

exclusions = Table(
    "exclusions",
    metadata,
    Column("id", Text, primary_key=True),
    Column("appeal_id", Text, nullable=False),
    Column("unit", Text, nullable=False),
    Column("reason", Text, nullable=False),
    Column("evidence", Text),
    Column("asked_by", Text, nullable=False),
    Column("asked_at", DateTime(timezone=True), nullable=False),
    *_judged(),
)
Index("exclusions_by_state", exclusions.c.state, exclusions.c.id)

false_completions = Table(
    "false_completions",
    metadata,
    Column("appeal_id", Text, primary_key=True),
    Column("round", Integer, primary_key=True),
    Column("work_order_id", Text, nullable=False),
    Column("unit", Text, nullable=False),
    Column("suspected_at", DateTime(timezone=True), nullable=False),
    *_judged(),
)
Index("false_completions_by_state", false_completions.c.state, false_completions.c.appeal_id, false_completions.c.round)

rated = Table(
    "rated",
    metadata,
    # answers of the last weeks, for signs that they were made (signs.py); docs/privacy.md says what is kept how long
    Column("appeal_id", Text, primary_key=True),
    Column("round", Integer, primary_key=True),
    Column("work_order_id", Text, nullable=False),
    Column("unit", Text, nullable=False),
    Column("reporter", Text),
    Column("at", DateTime(timezone=True), nullable=False),
    # keyed digest of address and browser, null for calls; digest of the words, null when too short to tell anything
    Column("device", Text),
    Column("words", Text),
)
Index("rated_by_time", rated.c.at)

rating_keys = Table(
    "rating_keys",
    metadata,
    # the key of a month's devices, random; gone with the last of them
    Column("period", Text, primary_key=True),
    Column("key", LargeBinary, nullable=False),
)

signs = Table(
    "signs",
    metadata,
    # what was told of each sign last: its id is period/unit/sign
    Column("id", Text, primary_key=True),
    Column("sequence", BigInteger, nullable=False),
    Column("number", Integer, nullable=False),
)
