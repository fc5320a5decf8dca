"""Tables of classify (schema `classify`)."""

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Date,
    DateTime,
    Integer,
    LargeBinary,
    MetaData,
    Table,
    Text,
)
from sqlalchemy.dialects.postgresql import ARRAY, JSONB, REAL

metadata = MetaData(schema="classify")

knowledge = Table(
    "knowledge",
    metadata,
    Column("only_row", Boolean, primary_key=True),
    # grows with every change of catalogue, tags or model, so that each process knows when to read them again
    Column("stamp", BigInteger, nullable=False),
    # grows with every decision of a person about a label
    Column("learnt", BigInteger, nullable=False),
)
catalogue_versions = Table(
    "catalogue_versions",
    metadata,
    Column("version", BigInteger, primary_key=True),
    Column("csv", Text, nullable=False),
    Column("matters", Integer, nullable=False),
    Column("created_at", DateTime(timezone=True), nullable=False),
    Column("created_by", Text, nullable=False),
    Column("activated_at", DateTime(timezone=True)),
    Column("activated_by", Text),
    Column("effective_from", DateTime(timezone=True)),
    # the version that was in force at the import: pairs lead from there
    Column("compared_with", BigInteger),
    # how many facts of it were published: its `sequence`
    Column("told", Integer, nullable=False),
)
# which code of a version takes the place of which of the one before
catalogue_pairs = Table(
    "catalogue_pairs",
    metadata,
    Column("new_version", BigInteger, primary_key=True),
    Column("old_version", BigInteger, primary_key=True),
    Column("old", Text, primary_key=True),
    Column("new", Text, primary_key=True),
    Column("score", REAL, nullable=False),
    Column("words", REAL),
    Column("meaning", REAL),
    Column("shared", REAL),
    # given, proposed
    Column("source", Text, nullable=False),
    # open, accepted (one for each old code), rejected
    Column("state", Text, nullable=False),
    Column("decided_at", DateTime(timezone=True)),
    Column("decided_by", Text),
)
tags = Table(
    "tags",
    metadata,
    Column("code", Text, primary_key=True),
    Column("name", Text, nullable=False),
    Column("family", Text, nullable=False),
    Column("tier", Text, nullable=False),
    Column("words", ARRAY(Text), nullable=False),
    # active; retired (and merged into another)
    Column("state", Text, nullable=False),
    # the appeals that it is for, by when they happened
    Column("valid_from", DateTime(timezone=True)),
    Column("valid_to", DateTime(timezone=True)),
    Column("merged_into", Text),
    Column("version", BigInteger, nullable=False),
    Column("updated_at", DateTime(timezone=True), nullable=False),
    Column("updated_by", Text, nullable=False),
)
tag_proposals = Table(
    "tag_proposals",
    metadata,
    Column("id", Text, primary_key=True),
    # word, merge, retire, promote
    Column("kind", Text, nullable=False),
    # the tag that stays; empty for a new one
    Column("tag", Text, nullable=False),
    # the word, the other tag's code, the phrase
    Column("word", Text, nullable=False),
    Column("score", REAL),
    Column("detail", JSONB),
    Column("examples", JSONB),
    # the tags that the acceptance changed, as they were
    Column("before", JSONB),
    Column("seen", Integer, nullable=False),
    Column("status", Text, nullable=False),
    Column("created_at", DateTime(timezone=True), nullable=False),
    Column("decided_at", DateTime(timezone=True)),
    Column("decided_by", Text),
)
# months of labels that were looked through for proposals
tag_months = Table(
    "tag_months",
    metadata,
    Column("month", Date, primary_key=True),
    Column("at", DateTime(timezone=True), nullable=False),
    Column("labels", Integer, nullable=False),
    Column("proposals", Integer, nullable=False),
)
# the unit that an appeal's order was dispatched to last
appeal_units = Table(
    "appeal_units",
    metadata,
    Column("appeal_id", Text, primary_key=True),
    Column("unit", Text, nullable=False),
    Column("order_id", Text, nullable=False),
    Column("sequence", BigInteger, nullable=False),
)
models = Table(
    "models",
    metadata,
    Column("version", Text, primary_key=True),
    # relative to the data folder
    Column("path", Text, nullable=False),
    Column("digest", Text, nullable=False),
    Column("labels", Integer, nullable=False),
    Column("training", JSONB, nullable=False),
    Column("metrics", JSONB, nullable=False),
    Column("registered_at", DateTime(timezone=True), nullable=False),
    Column("registered_by", Text, nullable=False),
    Column("activated_at", DateTime(timezone=True)),
    Column("activated_by", Text),
    Column("active", Boolean, nullable=False),
    # whose codes its labels are; None: of the version that was in force when it was registered
    Column("catalogue_version", BigInteger),
    # the last comparison with the model that was active then (shadow.compared)
    Column("shadow", JSONB),
    # the version that was active before this one was activated: a roll-back goes there
    Column("replaced", Text),
    # counts activations: who has the highest was activated last
    Column("turn", BigInteger),
)
labels = Table(
    "labels",
    metadata,
    Column("appeal_id", Text, primary_key=True),
    Column("sequence", BigInteger, nullable=False),
    Column("appeal_sequence", BigInteger, nullable=False),
    Column("received_at", DateTime(timezone=True), nullable=False),
    Column("reference_no", Text, nullable=False),
    Column("pseudonym", Text),
    Column("region_code", Text, nullable=False),
    Column("title", Text),
    Column("text", Text, nullable=False),
    # intake's own part of the appeal's state: received, declined, withdrawn
    Column("status", Text, nullable=False),
    Column("matter", Text, nullable=False),
    Column("class", Text, nullable=False),
    Column("model", Text, nullable=False),
    Column("degraded", Boolean, nullable=False),
    Column("needs_review", Boolean, nullable=False),
    Column("review_reason", Text),
    Column("corrected", Boolean, nullable=False),
    Column("sketch", ARRAY(Integer), nullable=False),
    # the public snapshot as published (JSON)
    Column("label", Text, nullable=False),
    # whose codes it speaks; None in older rows, where the snapshot alone says it
    Column("catalogue_version", Text),
)
# what was said lately, to find who else speaks of the same event: one partition a day, the oldest are dropped
recent = Table(
    "recent",
    metadata,
    Column("day", Date, primary_key=True),
    Column("appeal_id", Text, primary_key=True),
    Column("received_at", DateTime(timezone=True), nullable=False),
    Column("pseudonym", Text),
    # what the codes of its region begin with
    Column("region", Text, nullable=False),
    Column("keys", ARRAY(Integer), nullable=False),
    Column("sketch", ARRAY(Integer), nullable=False),
)
reviews = Table(
    "reviews",
    metadata,
    Column("appeal_id", Text, primary_key=True),
    Column("sequence", BigInteger, primary_key=True),
    Column("at", DateTime(timezone=True), nullable=False),
    Column("actor", Text, nullable=False),
    Column("matter_before", Text, nullable=False),
    Column("matter_after", Text, nullable=False),
    Column("class_before", Text, nullable=False),
    Column("class_after", Text, nullable=False),
    Column("tags_before", ARRAY(Text), nullable=False),
    Column("tags_after", ARRAY(Text), nullable=False),
    Column("model", Text, nullable=False),
    Column("probability", REAL, nullable=False),
    Column("note", Text),
)
# what persons decided, by the wording of the text: one row a person and wording
memory = Table(
    "memory",
    metadata,
    # memory.index.wording of the sketch
    Column("wording", BigInteger, primary_key=True),
    Column("actor", Text, primary_key=True),
    # the latest appeal that this decision was about
    Column("appeal_id", Text, nullable=False),
    # None: another person overturned it
    Column("matter", Text),
    # version of the catalogue that the matter is of
    Column("catalogue", Text, nullable=False),
    Column("at", DateTime(timezone=True), nullable=False),
    Column("sketch", LargeBinary, nullable=False),
    # the value of knowledge.learnt that it came with
    Column("learnt", BigInteger, nullable=False),
)
# which seat looks at what, in real time
review_leases = Table(
    "review_leases",
    metadata,
    Column("appeal_id", Text, primary_key=True),
    Column("seat", Text, nullable=False),
    Column("until", DateTime(timezone=True), nullable=False),
)
# how late the review of an appeal is, as sla says: only from yellow on
review_clocks = Table(
    "review_clocks",
    metadata,
    Column("appeal_id", Text, primary_key=True),
    Column("due_at", DateTime(timezone=True), nullable=False),
    # yellow, red
    Column("lamp", Text, nullable=False),
    # supervision level reached, 0 to 3
    Column("level", Integer, nullable=False),
    Column("sequence", BigInteger, nullable=False),
)
# reviews that a second person does without knowing of the first
second_opinions = Table(
    "second_opinions",
    metadata,
    Column("appeal_id", Text, primary_key=True),
    Column("asked_at", DateTime(timezone=True), nullable=False),
    Column("region_code", Text, nullable=False),
    # what the first person saw
    Column("label", Text, nullable=False),
    Column("first_actor", Text, nullable=False),
    Column("first_matter", Text, nullable=False),
    Column("actor", Text),
    Column("matter", Text),
    Column("at", DateTime(timezone=True)),
)
# what a language model advised; one row a case that it was asked about
advice = Table(
    "advice",
    metadata,
    Column("appeal_id", Text, primary_key=True),
    # asked, given (matter None: no candidate fits), refused, failed
    Column("state", Text, nullable=False),
    Column("tries", Integer, nullable=False),
    Column("again_at", DateTime(timezone=True), nullable=False),
    Column("tokens", BigInteger, nullable=False),
    # of model and question: an equal one is not asked again
    Column("digest", Text),
    Column("model", Text),
    Column("matter", Text),
    Column("why", Text),
    Column("at", DateTime(timezone=True)),
)
# sentences with a safety word that a person judged to be no danger
safety_examples = Table(
    "safety_examples",
    metadata,
    Column("id", Text, primary_key=True),
    Column("clause", Text, nullable=False),
    Column("words", ARRAY(Text), nullable=False),
    Column("appeal_id", Text, nullable=False),
    # used; undone by a person
    Column("state", Text, nullable=False),
    Column("at", DateTime(timezone=True), nullable=False),
    Column("actor", Text, nullable=False),
    Column("decided_at", DateTime(timezone=True)),
    Column("decided_by", Text),
)
label_counts = Table(
    "label_counts",
    metadata,
    Column("model", Text, primary_key=True),
    Column("day", Date, primary_key=True),
    Column("labelled", BigInteger, nullable=False),
    Column("in_review", BigInteger, nullable=False),
    Column("degraded", BigInteger, nullable=False),
    Column("urgent", BigInteger, nullable=False),
)
