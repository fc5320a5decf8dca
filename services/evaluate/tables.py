"""Tables of schema `evaluate`: small facts, one row each, so that every number can show the cases behind it.

All keyed by (platform, id): a province's node evaluates the events of its cities too (architecture.md, "Events").
"""

from sqlalchemy import BigInteger, Boolean, Column, DateTime, Index, Integer, MetaData, Table, Text, text
from sqlalchemy.dialects.postgresql import JSONB

SCHEMA = "evaluate"
metadata = MetaData(schema=SCHEMA)

CASE_COUNTS = (
    "closed",
    "asked",
    "contacted",
    "solved",
    "answered",
    "satisfied",
    "second_handled",
    "excluded",
    "false_completions_suspected",
)
"""the counts of domain.Counts that one appeal's feedback adds"""

cases = Table(
    "cases",
    metadata,
    Column("platform", Text, primary_key=True),
    Column("appeal_id", Text, primary_key=True),
    Column("sequence", BigInteger, nullable=False),
    Column("work_order_id", Text, nullable=False),
    # the one that led at completion
    Column("unit", Text, nullable=False),
    # null while the citizen is still being asked
    Column("closed_at", DateTime(timezone=True)),
    Column("period", Text),
    *(Column(name, Integer, nullable=False, server_default="0") for name in CASE_COUNTS),
)
Index("cases_by_period", cases.c.platform, cases.c.period, cases.c.unit, postgresql_where=text("period IS NOT NULL"))
Index("cases_by_order", cases.c.platform, cases.c.work_order_id)

moves = Table(
    "moves",
    metadata,
    Column("platform", Text, primary_key=True),
    Column("work_order_id", Text, primary_key=True),
    Column("sequence", BigInteger, primary_key=True),
    # dispatched, returned, shirked
    Column("kind", Text, nullable=False),
    Column("unit", Text, nullable=False),
    Column("period", Text, nullable=False),
)
Index("moves_by_period", moves.c.platform, moves.c.period, moves.c.unit, moves.c.kind)

late_rounds = Table(
    "late_rounds",
    metadata,
    Column("platform", Text, primary_key=True),
    Column("work_order_id", Text, primary_key=True),
    Column("round", Integer, primary_key=True),
    # of sla's latest event about this clock
    Column("sequence", BigInteger, nullable=False),
    # the complete clock became due, and that was not taken back
    Column("late", Boolean, nullable=False),
)

repeats = Table(
    "repeats",
    metadata,
    Column("platform", Text, primary_key=True),
    # the new appeal, and the closed one that it repeats
    Column("appeal_id", Text, primary_key=True),
    Column("repeat_of", Text, nullable=False),
    Column("period", Text, nullable=False),
)
Index("repeats_by_period", repeats.c.platform, repeats.c.period)

units = Table(
    "units",
    metadata,
    Column("platform", Text, primary_key=True),
    Column("unit", Text, primary_key=True),
    Column("name", Text, nullable=False),
    Column("region_code", Text, nullable=False),
)

formulas = Table(
    "formulas",
    metadata,
    Column("version", Text, primary_key=True),
    Column("effective_from", Text, nullable=False),
    Column("body", JSONB, nullable=False),
    Column("created_by", Text, nullable=False),
    Column("created_at", DateTime(timezone=True), nullable=False),
)
Index("formulas_by_start", formulas.c.effective_from, unique=True)
