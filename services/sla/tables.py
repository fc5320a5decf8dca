"""Tables of schema `sla`."""

from sqlalchemy import BigInteger, Boolean, Column, DateTime, Index, Integer, MetaData, Table, Text, text
from sqlalchemy.dialects.postgresql import JSONB

SCHEMA = "sla"
metadata = MetaData(schema=SCHEMA)

clock_sets = Table(
    "clock_sets",
    metadata,
    Column("work_order_id", Text, primary_key=True),
    # own sequence of sla.clocks.v1
    Column("sequence", BigInteger, nullable=False, server_default="0"),
    # the aggregate (domain ClockSet) as JSON; null until the order's first event was read
    Column("state", Text),
    # what the events and lists need of the order
    Column("appeal_ids", Text),
    Column("unit", Text),
    Column("region_code", Text),
    Column("lamp", Text),
    Column("running", Boolean, nullable=False, server_default="false"),
    # the earliest deadline of the running clocks, and the instant of the armed timer
    Column("due_at", DateTime(timezone=True)),
    Column("next_at", DateTime(timezone=True)),
    # business time of the newest order event applied, and feedback facts that wait for a later one
    Column("applied_to", DateTime(timezone=True)),
    Column("early", Text),
)
Index(
    "clock_sets_of_unit",
    clock_sets.c.unit,
    clock_sets.c.due_at,
    clock_sets.c.work_order_id,
    postgresql_include=["lamp"],
    postgresql_where=text("running"),
)
Index(
    "clock_sets_by_due",
    clock_sets.c.due_at,
    clock_sets.c.work_order_id,
    postgresql_include=["lamp"],
    postgresql_where=text("running"),
)

supervisions = Table(
    "supervisions",
    metadata,
    Column("id", Text, primary_key=True),
    Column("work_order_id", Text, nullable=False),
    Column("clock", Text, nullable=False),
    Column("round", Integer, nullable=False),
    Column("level", Integer, nullable=False),
    Column("unit", Text, nullable=False),
    Column("region_code", Text, nullable=False),
    Column("due_at", DateTime(timezone=True), nullable=False),
    Column("raised_at", DateTime(timezone=True), nullable=False),
    Column("late", Boolean, nullable=False),
    # an event read late took it back
    Column("withdrawn_at", DateTime(timezone=True)),
    Column("acknowledged_at", DateTime(timezone=True)),
    Column("acknowledged_by", Text),
    Column("note", Text),
    # who is told (supervision.py), 1 to 3 as far as it climbed unacknowledged, when it was told and last climbed
    Column("audience", Text, nullable=False, server_default=""),
    Column("reach", Integer, nullable=False, server_default="0"),
    Column("told_at", DateTime(timezone=True)),
    Column("climbed_at", DateTime(timezone=True)),
)
# each (work order, clock, round, level) exactly once (domain.md, SLA): the last line of defence
Index(
    "supervisions_once",
    supervisions.c.work_order_id,
    supervisions.c.clock,
    supervisions.c.round,
    supervisions.c.level,
    unique=True,
    postgresql_where=text("withdrawn_at IS NULL"),
)
# late ones wait here for the digest of their audience
Index(
    "supervisions_untold",
    supervisions.c.audience,
    postgresql_where=text("told_at IS NULL AND withdrawn_at IS NULL"),
)
Index("supervisions_by_unit", supervisions.c.unit, supervisions.c.id)
Index("supervisions_by_level", supervisions.c.level, supervisions.c.id)

policies = Table(
    "policies",
    metadata,
    Column("version", Text, primary_key=True),
    Column("data", JSONB, nullable=False),
    Column("effective_from", DateTime(timezone=True), nullable=False),
    Column("created_by", Text, nullable=False),
    Column("created_at", DateTime(timezone=True), nullable=False),
)

calendars = Table(
    "calendars",
    metadata,
    Column("version", Text, primary_key=True),
    # {years: [..], holidays: {day: name}, workdays: {day: name}, hours: [[from, to]]} (domain/layers.py)
    Column("data", JSONB, nullable=False),
    Column("effective_from", DateTime(timezone=True), nullable=False),
    Column("created_by", Text, nullable=False),
    Column("created_at", DateTime(timezone=True), nullable=False),
    # "" is the platform's
    Column("unit", Text, nullable=False, server_default=""),
)

# which deadlines were moved by rules that came into force at an instant
moved_deadlines = Table(
    "moved_deadlines",
    metadata,
    Column("effective_from", DateTime(timezone=True), primary_key=True),
    Column("work_order_id", Text, primary_key=True),
    Column("clock", Text, primary_key=True),
    Column("round", Integer, primary_key=True),
    Column("unit", Text, nullable=False),
    Column("region_code", Text, nullable=False),
    Column("from_at", DateTime(timezone=True)),
    Column("to_at", DateTime(timezone=True)),
)

# 挂账 and 延期 as they were asked for, decided and ended
suspensions = Table(
    "suspensions",
    metadata,
    # of the approval
    Column("id", Text, primary_key=True),
    Column("work_order_id", Text, nullable=False),
    Column("what", Text, nullable=False),
    Column("unit", Text, nullable=False),
    Column("region_code", Text, nullable=False),
    Column("seconds", BigInteger, nullable=False),
    Column("reason", Text, nullable=False),
    Column("evidence", JSONB, nullable=False),
    Column("requested_by", Text),
    Column("requested_at", DateTime(timezone=True)),
    # requested, approved, rejected, dropped (the order ended first)
    Column("status", Text, nullable=False),
    Column("decided_by", Text),
    Column("decided_at", DateTime(timezone=True)),
    Column("decision", Text),
    # of a suspension that was approved
    Column("until_at", DateTime(timezone=True)),
    Column("ended_at", DateTime(timezone=True)),
    Column("ended_by", Text),
)
Index("suspensions_of_order", suspensions.c.work_order_id)
Index("suspensions_by_time", suspensions.c.requested_at, suspensions.c.id)
