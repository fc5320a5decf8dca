"""What persons decided, by the wording: so that the next appeal of the same words follows."""

import hashlib
import json
import struct

from alembic import op
from sqlalchemy import text

revision = "0005"
down_revision = "0004"

STATEMENTS = (
    "ALTER TABLE knowledge ADD COLUMN learnt bigint NOT NULL DEFAULT 0",
    """CREATE TABLE memory (
  wording bigint NOT NULL, actor text NOT NULL, appeal_id text NOT NULL, matter text, catalogue text NOT NULL,
  at timestamptz NOT NULL, sketch bytea NOT NULL, learnt bigint NOT NULL, PRIMARY KEY (wording, actor))
  WITH (fillfactor = 80)""",
    "CREATE INDEX memory_by_learnt ON memory (learnt)",
    "CREATE INDEX memory_by_appeal ON memory (appeal_id)",
)
_PAST = """SELECT DISTINCT ON (r.appeal_id) r.appeal_id, r.actor, r.matter_after, r.at, l.sketch, l.label
  FROM reviews r JOIN labels l USING (appeal_id) WHERE cardinality(l.sketch) > 0
  ORDER BY r.appeal_id, r.sequence DESC"""
_KEPT = 20_000


def upgrade() -> None:
    for statement in STATEMENTS:
        op.execute(statement)
    pg = op.get_bind()
    # decisions that were made before there was a memory, the latest of them
    rows = pg.execute(text(f"SELECT * FROM ({_PAST}) p ORDER BY at DESC LIMIT {_KEPT}")).mappings().all()
    for row in reversed(rows):
        sketch = struct.pack(f"<{len(row['sketch'])}i", *row["sketch"])
        pg.execute(
            text(
                "INSERT INTO memory (wording, actor, appeal_id, matter, catalogue, at, sketch, learnt)"
                " VALUES (:wording, :actor, :appeal_id, :matter, :catalogue, :at, :sketch, 1)"
                " ON CONFLICT (wording, actor) DO UPDATE SET appeal_id = excluded.appeal_id,"
                " matter = excluded.matter, catalogue = excluded.catalogue, at = excluded.at"
            ),
            {
                "wording": int.from_bytes(hashlib.blake2b(sketch, digest_size=8).digest(), "big", signed=True),
                "actor": row["actor"],
                "appeal_id": row["appeal_id"],
                "matter": row["matter_after"],
                "catalogue": json.loads(row["label"])["catalogue_version"],
                "at": row["at"],
                "sketch": sketch,
            },
        )
    if rows:
        op.execute("UPDATE knowledge SET learnt = 1")


def downgrade() -> None:
    raise NotImplementedError("forward only: go back with a backup")
