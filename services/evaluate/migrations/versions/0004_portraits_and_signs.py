"""The matter of a case, for portraits; completions, for what the centre should look at."""

from alembic import op

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    for name in ("cases", "ledger_cases", "rebuild_cases"):
        op.execute(f"ALTER TABLE {name} ADD COLUMN matter text NOT NULL DEFAULT ''")
    op.execute(
        "CREATE TABLE completions (platform text NOT NULL, work_order_id text NOT NULL, sequence bigint NOT NULL,"
        " unit text NOT NULL, period text NOT NULL, completed_at timestamptz NOT NULL, contacted boolean NOT NULL,"
        " answer text, PRIMARY KEY (platform, work_order_id, sequence))"
    )
    op.execute("CREATE INDEX completions_by_period ON completions (platform, period, unit)")


def downgrade() -> None:
    raise NotImplementedError("forward only: go back with a backup")
