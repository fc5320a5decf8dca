"""虚假办结 that the centre confirmed or denied; signs that feedback tells of ratings."""

from alembic import op

revision = "0006"
down_revision = "0005"


def upgrade() -> None:
    op.execute(
        "CREATE TABLE false_completions (platform text NOT NULL, appeal_id text NOT NULL, round integer NOT NULL,"
        " sequence bigint NOT NULL, work_order_id text NOT NULL, order_round integer NOT NULL, unit text NOT NULL,"
        " confirmed boolean NOT NULL, decided_at timestamptz NOT NULL, period text NOT NULL,"
        " PRIMARY KEY (platform, appeal_id, round))"
    )
    op.execute("CREATE INDEX false_completions_by_order ON false_completions (platform, work_order_id, order_round)")
    op.execute("CREATE TABLE ledger_false_completions (LIKE false_completions INCLUDING ALL)")
    op.execute("CREATE UNLOGGED TABLE rebuild_false_completions (LIKE false_completions INCLUDING ALL)")
    # what was read of the journal was read without them: it is read again when the next month is published
    for ledger in ("ledger", "rebuild"):
        names = ("reading", "cases", "moves", "late_rounds", "repeats", "units", "labels")
        op.execute(f"TRUNCATE {', '.join(f'{ledger}_{name}' for name in names)}")
    op.execute("TRUNCATE rebuild_publications")
    op.execute(
        "CREATE TABLE rating_signs (platform text NOT NULL, period text NOT NULL, unit text NOT NULL,"
        " sign text NOT NULL, sequence bigint NOT NULL, number integer NOT NULL, rated integer NOT NULL,"
        " appeals text[] NOT NULL, PRIMARY KEY (platform, period, unit, sign))"
    )


def downgrade() -> None:
    raise NotImplementedError("forward only: go back with a backup")
