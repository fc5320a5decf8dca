"""The tags of labels, for their accuracy and for portraits; formulas of incentives beside those of scores."""

from alembic import op

revision = "0005"
down_revision = "0004"


def upgrade() -> None:
    op.execute(
        "CREATE TABLE labels (platform text NOT NULL, appeal_id text NOT NULL, sequence bigint NOT NULL,"
        " reviewed boolean NOT NULL, tags text[] NOT NULL, PRIMARY KEY (platform, appeal_id, sequence))"
    )
    op.execute("CREATE TABLE ledger_labels (LIKE labels INCLUDING ALL)")
    op.execute("CREATE UNLOGGED TABLE rebuild_labels (LIKE labels INCLUDING ALL)")
    # what was read of the journal was read without labels: it is read again when the next month is published
    for ledger in ("ledger", "rebuild"):
        names = ("reading", "cases", "moves", "late_rounds", "repeats", "units")
        op.execute(f"TRUNCATE {', '.join(f'{ledger}_{name}' for name in names)}")
    op.execute("TRUNCATE rebuild_publications")
    op.execute(
        "CREATE TABLE tag_names (platform text NOT NULL, code text NOT NULL, name text NOT NULL, family text NOT NULL,"
        " said_at timestamptz NOT NULL, PRIMARY KEY (platform, code))"
    )
    op.execute("ALTER TABLE formulas ADD COLUMN purpose text NOT NULL DEFAULT 'score'")
    op.execute("DROP INDEX formulas_by_start")
    op.execute("CREATE UNIQUE INDEX formulas_by_start ON formulas (purpose, effective_from)")


def downgrade() -> None:
    raise NotImplementedError("forward only: go back with a backup")
