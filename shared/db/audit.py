"""The audit: entries in a hash chain that can be verified offline (domain.md, "Privacy and audit")."""

import hashlib
from collections.abc import Mapping
from typing import Any

import orjson

from shared.outbox.uow import Uow

GENESIS = bytes(32)


def digest_of(previous: bytes, entry: Mapping[str, Any]) -> bytes:
    """SHA-256 over the digest before and the entry in canonical JSON."""
    return hashlib.sha256(previous + orjson.dumps(entry, option=orjson.OPT_SORT_KEYS)).digest()


async def record(
    uow: Uow,
    *,
    actor: str,
    action: str,
    subject: str,
    reason: str | None = None,
    detail: Mapping[str, Any] | None = None,
) -> None:
    """Append an entry within the transaction of what it tells. `detail` holds no contact data."""
    await uow.pg.execute("SELECT pg_advisory_xact_lock(hashtextextended($1, 0))", f"audit/{uow.schema}")
    last = await uow.pg.fetchrow(f"SELECT position, digest FROM {uow.schema}.audit ORDER BY position DESC LIMIT 1")
    position = (last["position"] if last else 0) + 1
    previous = last["digest"] if last else GENESIS
    at = uow.clock.now()
    entry = {
        "position": position,
        "at": at.isoformat(),
        "actor": actor,
        "action": action,
        "subject": subject,
        "reason": reason,
        "detail": dict(detail or {}),
    }
    await uow.pg.execute(
        f"INSERT INTO {uow.schema}.audit (position, at, actor, action, subject, reason, detail, previous, digest)"
        " VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)",
        position,
        at,
        actor,
        action,
        subject,
        reason,
        orjson.dumps(entry["detail"]).decode(),
        previous,
        digest_of(previous, entry),
    )


async def verify(pg: Any, schema: str) -> dict[str, Any]:
    """Walk the chain: `{"entries": n, "intact": bool, "broken_at": position|None}`."""
    previous, count = GENESIS, 0
    async with pg.transaction():
        async for row in pg.cursor(f"SELECT * FROM {schema}.audit ORDER BY position"):
            entry = {
                "position": row["position"],
                "at": row["at"].isoformat(),
                "actor": row["actor"],
                "action": row["action"],
                "subject": row["subject"],
                "reason": row["reason"],
                "detail": row["detail"],
            }
            if row["previous"] != previous or row["digest"] != digest_of(previous, entry):
                return {"entries": count, "intact": False, "broken_at": row["position"]}
            previous = row["digest"]
            count += 1
    return {"entries": count, "intact": True, "broken_at": None}
