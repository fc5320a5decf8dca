"""Tables of schema `intake`. Those that grow with cases are partitioned by the month inside their UUIDv7 key."""

from sqlalchemy import BigInteger, Boolean, Column, DateTime, Index, Integer, LargeBinary, MetaData, Table, Text, Uuid
from sqlalchemy.dialects.postgresql import ARRAY, JSONB, TSVECTOR

SCHEMA = "intake"
metadata = MetaData(schema=SCHEMA)

_instant = DateTime(timezone=True)

appeals = Table(
    "appeals",
    metadata,
    Column("appeal_id", Uuid, primary_key=True),
    Column("reference_no", Text, nullable=False),
    Column("source_platform", Text, nullable=False),
    Column("received_at", _instant, nullable=False),
    Column("sequence", Integer, nullable=False),
    # the public state as events carry it: redacted
    Column("snapshot", JSONB, nullable=False),
    Column("search", TSVECTOR, nullable=False),
    postgresql_partition_by="RANGE (appeal_id)",
)
Index("appeals_search", appeals.c.search, postgresql_using="gin")

vault = Table(
    "vault",
    metadata,
    Column("appeal_id", Uuid, primary_key=True),
    Column("key_id", Text, nullable=False),
    Column("sealed", LargeBinary, nullable=False),
    postgresql_partition_by="RANGE (appeal_id)",
)

# uniqueness across months lives in small tables of their own
external_keys = Table(
    "external_keys",
    metadata,
    # SHA-256 of source platform and external id
    Column("digest", LargeBinary, primary_key=True),
    Column("appeal_id", Uuid, nullable=False),
    Column("body_digest", LargeBinary, nullable=False),
)
reference_keys = Table(
    "reference_keys",
    metadata,
    Column("reference_no", Text, primary_key=True),
    Column("appeal_id", Uuid, nullable=False),
)

# what lists filter by; derived from all streams (streams.py)
cases = Table(
    "cases",
    metadata,
    Column("appeal_id", Uuid, primary_key=True),
    Column("received_at", _instant, nullable=False),
    Column("status", Text, nullable=False),
    Column("channel", Text, nullable=False),
    Column("region_code", Text, nullable=False),
    Column("matter", Text),
    Column("tags", ARRAY(Text), nullable=False),
    Column("units", ARRAY(Text), nullable=False),
    postgresql_partition_by="RANGE (appeal_id)",
)
Index("cases_status", cases.c.status, cases.c.appeal_id)
Index("cases_matter", cases.c.matter, cases.c.appeal_id)
Index("cases_channel", cases.c.channel, cases.c.appeal_id)
Index("cases_region", cases.c.region_code, postgresql_ops={"region_code": "text_pattern_ops"})
Index("cases_units", cases.c.units, postgresql_using="gin")
Index("cases_tags", cases.c.tags, postgresql_using="gin")

# what the streams said about a case: one row, so that one lock and one look-up are enough (streams.py)
case_views = Table(
    "case_views",
    metadata,
    Column("appeal_id", Uuid, primary_key=True),
    # `Streams` as JSON: what the columns of `cases` are derived from
    Column("streams", Text, nullable=False),
    # the orders that answer the appeal, oldest first
    Column("order_ids", ARRAY(Uuid), nullable=False),
    # JSON as the case view shows it; null until the stream said something
    Column("label", Text),
    Column("feedback", Text),
    postgresql_partition_by="RANGE (appeal_id)",
)
# by order, because one that answers many appeals moves its clocks once
case_clocks = Table(
    "case_clocks",
    metadata,
    Column("work_order_id", Uuid, primary_key=True),
    Column("sequence", Integer, nullable=False),
    Column("clocks", Text, nullable=False),
    postgresql_partition_by="RANGE (work_order_id)",
)

timeline = Table(
    "timeline",
    metadata,
    Column("appeal_id", Uuid, primary_key=True),
    Column("event_id", Text, primary_key=True),
    Column("at", _instant, nullable=False),
    Column("type", Text, nullable=False),
    Column("actor", Text, nullable=False),
    Column("words", Text, nullable=False),
    Column("reason", Text),
    postgresql_partition_by="RANGE (appeal_id)",
)

# names of roads and estates in confirmed cases, by the district they lie in
learned_places = Table(
    "learned_places",
    metadata,
    Column("name", Text, primary_key=True),
    Column("county", Text, primary_key=True),
    Column("seen", Integer, nullable=False),
    # learned; refused by a person (the same in every row of a name)
    Column("state", Text, nullable=False),
    Column("last_seen", _instant, nullable=False),
    Column("decided_by", Text),
    Column("decided_at", _instant),
)
# up to which appeal they were read
place_lessons = Table(
    "place_lessons",
    metadata,
    Column("only_row", Boolean, primary_key=True),
    Column("position", Uuid, nullable=False),
)

# files of cases; their contents lie in the store of attachments/stores.py
attachments = Table(
    "attachments",
    metadata,
    Column("id", Uuid, primary_key=True),
    # null: its appeal is not sent yet
    Column("appeal_id", Uuid),
    Column("purpose", Text, nullable=False),
    Column("media_type", Text, nullable=False),
    Column("size", BigInteger, nullable=False),
    Column("sha256", LargeBinary, nullable=False),
    # of the vault's keys: it seals the file and its name
    Column("key_id", Text, nullable=False),
    Column("name", LargeBinary, nullable=False),
    Column("uploaded_by", Text, nullable=False),
    Column("units", ARRAY(Text), nullable=False),
    Column("stored_at", _instant, nullable=False),
    # when it is to be deleted; null: it stays
    Column("remove_at", _instant),
    Column("removed_at", _instant),
)

# a case between two platforms, as this one knows it: it is the sender, the receiver, or lies on the way
handoffs = Table(
    "handoffs",
    metadata,
    Column("id", Text, primary_key=True),
    Column("role", Text, nullable=False),
    Column("sender", Text, nullable=False),
    Column("receiver", Text, nullable=False),
    Column("path", ARRAY(Text), nullable=False),
    # offered, accepted, refused, withdrawn, completed, acknowledged
    Column("state", Text, nullable=False),
    # at the sender what is handed over, at the receiver what came of it
    Column("appeal_id", Text),
    Column("work_order_id", Text),
    # SHA-256 of what was offered, without the seal and the clocks
    Column("digest", LargeBinary),
    # the offer without contact data, as JSON
    Column("body", Text),
    # sealed to the receiver; empty once it opened it
    Column("contact", Text),
    # the newest receipt as JSON
    Column("mirror", Text),
    # what this platform last told of the case, as JSON
    Column("told", Text),
    # of intake.peers.v1 and of dispatch.handoffs.v1, of receipts sent and received
    Column("sequence", Integer, nullable=False),
    Column("decision_seq", Integer, nullable=False),
    Column("sent_seq", Integer, nullable=False),
    Column("received_seq", Integer, nullable=False),
    Column("offered_at", _instant, nullable=False),
    Column("updated_at", _instant, nullable=False),
)

# what is to be sent to other platforms until they acknowledge it; real time
peer_messages = Table(
    "peer_messages",
    metadata,
    Column("id", Text, primary_key=True),
    Column("handoff_id", Text, nullable=False),
    Column("to_platform", Text, nullable=False),
    # offer or receipt
    Column("kind", Text, nullable=False),
    Column("seq", Integer, nullable=False),
    Column("body", Text),
    Column("attempts", Integer, nullable=False),
    Column("next_at", _instant, nullable=False),
    # who sends it has it until then
    Column("leased_until", _instant, nullable=False),
    Column("error", Text),
    Column("created_at", _instant, nullable=False),
)
peer_nonces = Table(
    "peer_nonces",
    metadata,
    Column("platform", Text, primary_key=True),
    Column("nonce", Text, primary_key=True),
    Column("seen_at", _instant, nullable=False),
)

PARTITIONED: tuple[Table, ...] = tuple(
    table for table in metadata.sorted_tables if table.dialect_options["postgresql"]["partition_by"]
)
"""tables that need a partition for every month"""
