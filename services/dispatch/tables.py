"""Tables of schema `dispatch` (their SQL is in `migrations/`)."""

from sqlalchemy import BigInteger, Boolean, Column, Date, DateTime, Integer, MetaData, Table, Text, Time
from sqlalchemy.dialects.postgresql import ARRAY, JSONB, TSVECTOR

SCHEMA = "dispatch"
metadata = MetaData(schema=SCHEMA)

# the version of what is kept in memory: `units` and `duties`
registries = Table(
    "registries",
    metadata,
    Column("name", Text, primary_key=True),
    Column("version", BigInteger, nullable=False),
)

unit_versions = Table(
    "unit_versions",
    metadata,
    Column("version", BigInteger, primary_key=True),
    Column("units", JSONB, nullable=False),
    Column("source", Text, nullable=False),
    Column("created_at", DateTime(timezone=True), nullable=False),
    Column("created_by", Text, nullable=False),
    Column("activated_at", DateTime(timezone=True)),
    Column("activated_by", Text),
)

duties = Table(
    "duties",
    metadata,
    Column("id", Text, primary_key=True),
    Column("kind", Text, nullable=False),
    Column("matter", Text, nullable=False),
    Column("region_code", Text, nullable=False),
    Column("lead", Text, nullable=False),
    Column("co_handlers", ARRAY(Text), nullable=False),
    Column("valid_from", Date),
    Column("valid_to", Date),
    Column("from_time", Time),
    Column("to_time", Time),
    Column("source", Text, nullable=False),
    Column("note", Text, nullable=False),
    Column("created_at", DateTime(timezone=True), nullable=False),
    Column("created_by", Text, nullable=False),
)

# which matters there are, by version of classify's catalogue
catalogues = Table(
    "catalogues",
    metadata,
    Column("version", BigInteger, primary_key=True),
    Column("sequence", BigInteger, nullable=False),
    Column("codes", ARRAY(Text), nullable=False),
    Column("effective_from", DateTime(timezone=True)),
)

# what dispatch keeps of an appeal: intake's and classify's part may come in any order
cases = Table(
    "cases",
    metadata,
    Column("appeal_id", Text, primary_key=True),
    Column("appeal_sequence", BigInteger, nullable=False),
    Column("appeal", Text),
    Column("label_sequence", BigInteger, nullable=False),
    Column("label", Text),
    Column("work_order_id", Text),
    Column("feedback_sequence", BigInteger, nullable=False),
    Column("feedback_closed", Boolean, nullable=False),
    Column("second_handled", Boolean, nullable=False),
)

# files of cases as intake tells of them: what evidence may name
attachments = Table(
    "attachments",
    metadata,
    Column("id", Text, primary_key=True),
    Column("sequence", BigInteger, nullable=False),
    Column("appeal_id", Text, nullable=False),
    Column("removed", Boolean, nullable=False),
)

# `state` is the aggregate (domain.WorkOrder) as JSON text; the other columns are for lists
work_orders = Table(
    "work_orders",
    metadata,
    Column("id", Text, primary_key=True),
    Column("version", BigInteger, nullable=False),
    Column("status", Text, nullable=False),
    Column("lead", Text, nullable=False),
    Column("co_handlers", ARRAY(Text), nullable=False),
    Column("class", Text, nullable=False),
    Column("matter", Text, nullable=False),
    Column("region_code", Text, nullable=False),
    Column("opened_at", DateTime(timezone=True), nullable=False),
    Column("updated_at", DateTime(timezone=True), nullable=False),
    Column("state", Text, nullable=False),
)

# the words of an order's appeals, for the search; written once per appeal, so that changes of the order cost it nothing
order_words = Table(
    "order_words",
    metadata,
    Column("work_order_id", Text, primary_key=True),
    Column("appeal_id", Text, primary_key=True),
    Column("search", TSVECTOR, nullable=False),
    postgresql_partition_by="RANGE (work_order_id)",
)

lamps = Table(
    "lamps",
    metadata,
    Column("work_order_id", Text, primary_key=True),
    Column("sequence", BigInteger, nullable=False),
    Column("lamp", Text, nullable=False),
    Column("level", Integer, nullable=False),
    Column("complete_due_at", DateTime(timezone=True)),
)

# rules that were slow or stuck: not asked until a person switches them on
rules_off = Table(
    "rules_off",
    metadata,
    Column("rule", Text, primary_key=True),
    Column("reason", Text, nullable=False),
    Column("since", DateTime(timezone=True), nullable=False),
)

# past orders decided again by changed rules or duties, and which of them would have had another lead
replays = Table(
    "replays",
    metadata,
    Column("id", Text, primary_key=True),
    Column("state", Text, nullable=False),
    Column("change", JSONB, nullable=False),
    Column("opened_from", DateTime(timezone=True), nullable=False),
    Column("opened_to", DateTime(timezone=True), nullable=False),
    Column("cursor", Text, nullable=False),
    Column("total", BigInteger, nullable=False),
    Column("examined", BigInteger, nullable=False),
    Column("moved", BigInteger, nullable=False),
    Column("error", Text),
    Column("lease", Text),
    Column("leased_until", DateTime(timezone=True)),
    Column("asked_by", Text, nullable=False),
    Column("asked_at", DateTime(timezone=True), nullable=False),
    Column("ended_at", DateTime(timezone=True)),
)

replay_moves = Table(
    "replay_moves",
    metadata,
    Column("replay_id", Text, primary_key=True),
    Column("work_order_id", Text, primary_key=True),
    Column("lead", Text, nullable=False),
    Column("lead_now", Text, nullable=False),
    Column("lead_then", Text, nullable=False),
    Column("rule_now", Text, nullable=False),
    Column("rule_then", Text, nullable=False),
)

disputes = Table(
    "disputes",
    metadata,
    Column("id", Text, primary_key=True),
    Column("work_order_id", Text, nullable=False),
    Column("status", Text, nullable=False),
    Column("units", ARRAY(Text), nullable=False),
    Column("matter", Text, nullable=False),
    Column("region_code", Text, nullable=False),
    Column("class", Text, nullable=False),
    Column("opened_at", DateTime(timezone=True), nullable=False),
    Column("opened_by", Text),
    Column("cause", Text),
    Column("lead", Text),
    Column("co_handlers", ARRAY(Text)),
    Column("scope", Text),
    Column("reason", Text),
    Column("ended_at", DateTime(timezone=True)),
    Column("ended_by", Text),
    # on-site checks and which units are still to look; the appeal against the ruling (domain.SiteCheck, domain.Contest)
    Column("checks", JSONB, nullable=False),
    Column("looking", ARRAY(Text), nullable=False),
    Column("contest_until", DateTime(timezone=True)),
    Column("contest", JSONB),
)

approvals = Table(
    "approvals",
    metadata,
    Column("id", Text, primary_key=True),
    Column("work_order_id", Text, nullable=False),
    Column("what", Text, nullable=False),
    Column("status", Text, nullable=False),
    Column("seconds", BigInteger, nullable=False),
    Column("reason", Text, nullable=False),
    Column("evidence", ARRAY(Text), nullable=False),
    Column("unit", Text, nullable=False),
    Column("region_code", Text, nullable=False),
    Column("requested_by", Text, nullable=False),
    Column("requested_at", DateTime(timezone=True), nullable=False),
    Column("decided_by", Text),
    Column("decided_at", DateTime(timezone=True)),
    Column("note", Text),
)

handoffs = Table(
    "handoffs",
    metadata,
    Column("id", Text, primary_key=True),
    Column("work_order_id", Text, nullable=False),
    Column("platform", Text, nullable=False),
    Column("path", ARRAY(Text), nullable=False),
    Column("state", Text, nullable=False),
    Column("sequence", BigInteger, nullable=False),
    Column("offered_at", DateTime(timezone=True), nullable=False),
    # the hand-over as last published; null: offered before hand-overs went over HTTP
    Column("snapshot", Text),
    # redacted, of an offer to here that waits for a person; then `sequence` is 0
    Column("text", Text),
)
