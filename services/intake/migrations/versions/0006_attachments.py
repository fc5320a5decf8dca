"""Files of cases: which there are, whose they are, until when; the files themselves lie outside the database."""

from alembic import op

revision = "0006"
down_revision = "0005"

STATEMENTS = (
    "CREATE TABLE attachments (id uuid PRIMARY KEY, appeal_id uuid, purpose text NOT NULL, media_type text NOT NULL,"
    " size bigint NOT NULL, sha256 bytea NOT NULL, key_id text NOT NULL, name bytea NOT NULL,"
    " uploaded_by text NOT NULL, units text[] NOT NULL, stored_at timestamptz NOT NULL, remove_at timestamptz,"
    " removed_at timestamptz)",
    "CREATE INDEX attachments_of_appeal ON attachments (appeal_id, id)",
    "CREATE INDEX attachments_to_remove ON attachments (remove_at) WHERE remove_at IS NOT NULL AND removed_at IS NULL",
    "CREATE INDEX attachments_unclaimed ON attachments (uploaded_by) WHERE appeal_id IS NULL AND removed_at IS NULL",
)


def upgrade() -> None:
    for statement in STATEMENTS:
        op.execute(statement)


def downgrade() -> None:
    raise NotImplementedError("forward only: go back with a backup")
