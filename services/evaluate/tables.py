"""Tables of schema `evaluate`: small facts, one row each, so that every number can show the cases behind it.

All keyed by (platform, id): a province's node evaluates the events of its cities too (architecture.md, "Events").
"""

from dataclasses import dataclass, fields

from sqlalchemy import BigInteger, Boolean, Column, DateTime, Index, Integer, LargeBinary, MetaData, Table, Text, text
from sqlalchemy.dialects.postgresql import ARRAY, JSONB

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


@dataclass(frozen=True, slots=True)
class Facts:
    """The tables of one count: what is known now, what had been written in the journal up to a position, or what a
    rebuild has read so far. Same columns, same SQL."""

    cases: Table
    moves: Table
    late_rounds: Table
    repeats: Table
    units: Table
    labels: Table
    false_completions: Table

    @property
    def all(self) -> tuple[Table, ...]:
        """Every one of them."""
        return tuple(getattr(self, one.name) for one in fields(self))


@dataclass(frozen=True, slots=True)
class Ledger:
    """A count of the journal: its facts, how far it has read, and what was published of it."""

    facts: Facts
    reading: Table
    publications: Table


def _facts(prefix: str) -> Facts:
    cases = Table(
        f"{prefix}cases",
        metadata,
        Column("platform", Text, primary_key=True),
        Column("appeal_id", Text, primary_key=True),
        Column("sequence", BigInteger, nullable=False),
        Column("work_order_id", Text, nullable=False),
        # the one that led at completion
        Column("unit", Text, nullable=False),
        Column("matter", Text, nullable=False),
        # null while the citizen is still being asked
        Column("closed_at", DateTime(timezone=True)),
        Column("period", Text),
        *(Column(name, Integer, nullable=False, server_default="0") for name in CASE_COUNTS),
    )
    Index(
        f"{prefix}cases_by_period",
        cases.c.platform,
        cases.c.period,
        cases.c.unit,
        postgresql_where=text("period IS NOT NULL"),
    )
    Index(f"{prefix}cases_by_order", cases.c.platform, cases.c.work_order_id)
    moves = Table(
        f"{prefix}moves",
        metadata,
        Column("platform", Text, primary_key=True),
        Column("work_order_id", Text, primary_key=True),
        Column("sequence", BigInteger, primary_key=True),
        # dispatched, returned, shirked
        Column("kind", Text, nullable=False),
        Column("unit", Text, nullable=False),
        Column("period", Text, nullable=False),
    )
    Index(f"{prefix}moves_by_period", moves.c.platform, moves.c.period, moves.c.unit, moves.c.kind)
    late_rounds = Table(
        f"{prefix}late_rounds",
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
        f"{prefix}repeats",
        metadata,
        Column("platform", Text, primary_key=True),
        # the new appeal, and the closed one that it repeats
        Column("appeal_id", Text, primary_key=True),
        Column("repeat_of", Text, nullable=False),
        Column("period", Text, nullable=False),
        # the first of the appeal's orders that says so
        Column("work_order_id", Text, nullable=False),
    )
    Index(f"{prefix}repeats_by_period", repeats.c.platform, repeats.c.period)
    units = Table(
        f"{prefix}units",
        metadata,
        Column("platform", Text, primary_key=True),
        Column("unit", Text, primary_key=True),
        Column("name", Text, nullable=False),
        Column("region_code", Text, nullable=False),
        # the latest dispatch to it, which says so: one of several at the same instant is chosen by its order
        Column("said_at", DateTime(timezone=True), nullable=False),
        Column("said_by", Text, nullable=False),
    )
    labels = Table(
        f"{prefix}labels",
        metadata,
        Column("platform", Text, primary_key=True),
        Column("appeal_id", Text, primary_key=True),
        Column("sequence", BigInteger, primary_key=True),
        # a person decided; else the machine
        Column("reviewed", Boolean, nullable=False),
        # codes, each once
        Column("tags", ARRAY(Text), nullable=False),
    )
    false_completions = Table(
        f"{prefix}false_completions",
        metadata,
        Column("platform", Text, primary_key=True),
        Column("appeal_id", Text, primary_key=True),
        # of the citizen's feedback
        Column("round", Integer, primary_key=True),
        Column("sequence", BigInteger, nullable=False),
        Column("work_order_id", Text, nullable=False),
        # which of the order's completions it was: several citizens may contradict one
        Column("order_round", Integer, nullable=False),
        Column("unit", Text, nullable=False),
        # the centre's last word
        Column("confirmed", Boolean, nullable=False),
        # the centre's first word, and its month
        Column("decided_at", DateTime(timezone=True), nullable=False),
        Column("period", Text, nullable=False),
    )
    Index(
        f"{prefix}false_completions_by_order",
        false_completions.c.platform,
        false_completions.c.work_order_id,
        false_completions.c.order_round,
    )
    return Facts(cases, moves, late_rounds, repeats, units, labels, false_completions)


def _ledger(prefix: str, publications: str) -> Ledger:
    reading = Table(
        f"{prefix}reading",
        metadata,
        Column("platform", Text, primary_key=True),
        # everything in the journal up to here is in its tables
        Column("position", BigInteger, nullable=False),
    )
    published = Table(
        publications,
        metadata,
        Column("platform", Text, primary_key=True),
        Column("period", Text, primary_key=True),
        # the last position of the journal that was counted
        Column("position", BigInteger, nullable=False),
        Column("formula", Text, nullable=False),
        # SHA-256 of body
        Column("digest", Text, nullable=False),
        # the canonical bytes of the snapshot
        Column("body", LargeBinary, nullable=False),
        Column("published_at", DateTime(timezone=True), nullable=False),
        Column("published_by", Text, nullable=False),
    )
    return Ledger(_facts(prefix), reading, published)


LIVE = _facts("")
"""what is known now, from the topics"""
LEDGER = _ledger("ledger_", "publications")
"""what the journal told up to the last publication, and the publications that count"""
REBUILD = _ledger("rebuild_", "rebuild_publications")
"""what a rebuild beside them has read and found so far; unlogged"""

completions = Table(
    "completions",
    metadata,
    Column("platform", Text, primary_key=True),
    Column("work_order_id", Text, primary_key=True),
    Column("sequence", BigInteger, primary_key=True),
    Column("unit", Text, nullable=False),
    Column("period", Text, nullable=False),
    Column("completed_at", DateTime(timezone=True), nullable=False),
    # the unit had contacted the citizen (先处置后补单 counts)
    Column("contacted", Boolean, nullable=False),
    # a digest of what the unit answered, null when that is too short to tell anything
    Column("answer", Text),
)
Index("completions_by_period", completions.c.platform, completions.c.period, completions.c.unit)

rating_signs = Table(
    "rating_signs",
    metadata,
    Column("platform", Text, primary_key=True),
    Column("period", Text, primary_key=True),
    Column("unit", Text, primary_key=True),
    # one_device, same_words
    Column("sign", Text, primary_key=True),
    Column("sequence", BigInteger, nullable=False),
    # ratings that it speaks of, of so many of the unit
    Column("number", Integer, nullable=False),
    Column("rated", Integer, nullable=False),
    # the first ones to look at
    Column("appeals", ARRAY(Text), nullable=False),
)

tag_names = Table(
    "tag_names",
    metadata,
    Column("platform", Text, primary_key=True),
    Column("code", Text, primary_key=True),
    Column("name", Text, nullable=False),
    Column("family", Text, nullable=False),
    # the latest label that has it
    Column("said_at", DateTime(timezone=True), nullable=False),
)

formulas = Table(
    "formulas",
    metadata,
    Column("version", Text, primary_key=True),
    # what it computes: score, incentive
    Column("purpose", Text, nullable=False, server_default="score"),
    Column("effective_from", Text, nullable=False),
    Column("body", JSONB, nullable=False),
    Column("created_by", Text, nullable=False),
    Column("created_at", DateTime(timezone=True), nullable=False),
)
Index("formulas_by_start", formulas.c.purpose, formulas.c.effective_from, unique=True)
