"""SQL of what is pulled from other platforms: who pulls from whom, and how far it is."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from services.journal.tables import peer_feeds

LEASE_S = 60
"""who pulls and is not heard of for so long is dead, and another replica goes on; longer than any call; real time"""

SHOWN = "platform, position, events, pulled_at, failing_since, last_error"


async def claim(pg: Any, platforms: Sequence[str], lease: str) -> dict[str, int]:
    """Take over those of `platforms` from which nobody pulls and that may be tried now: platform → position."""
    await pg.execute(
        f"INSERT INTO {peer_feeds.fullname} (platform) SELECT unnest($1::text[]) ON CONFLICT DO NOTHING",
        sorted(platforms),
    )
    rows = await pg.fetch(
        f"UPDATE {peer_feeds.fullname} f SET lease = $2, leased_until = now() + make_interval(secs => {LEASE_S})"
        f" FROM (SELECT platform FROM {peer_feeds.fullname} WHERE platform = ANY($1) AND retry_at <= now()"
        " AND (leased_until IS NULL OR leased_until < now()) ORDER BY platform FOR UPDATE SKIP LOCKED) free"
        " WHERE f.platform = free.platform RETURNING f.platform, f.position",
        list(platforms),
        lease,
    )
    return {row["platform"]: row["position"] for row in rows}


async def advance(pg: Any, platform: str, lease: str, before: int, position: int, events: int) -> bool:
    """Write down how far it is and keep the lease; False when somebody else pulls now, or it was set back: then
    nothing is written."""
    done = await pg.fetchval(
        f"UPDATE {peer_feeds.fullname} SET position = $4, events = events + $5, tries = 0, failing_since = NULL,"
        f" last_error = NULL, pulled_at = now(), leased_until = now() + make_interval(secs => {LEASE_S})"
        " WHERE platform = $1 AND lease = $2 AND position = $3 RETURNING true",
        platform,
        lease,
        before,
        position,
        events,
    )
    return done is not None


async def fail(pg: Any, platform: str, lease: str, error: str) -> int:
    """Write down what is wrong; returns how many tries were in vain, 0 without the lease."""
    tries: int | None = await pg.fetchval(
        f"UPDATE {peer_feeds.fullname} SET tries = tries + 1, failing_since = coalesce(failing_since, now()),"
        " last_error = $3 WHERE platform = $1 AND lease = $2 RETURNING tries",
        platform,
        lease,
        error[:500],
    )
    return tries or 0


async def release(pg: Any, platform: str, lease: str, pause_s: float) -> None:
    """Nobody pulls any more; it may be tried again in so many seconds."""
    await pg.execute(
        f"UPDATE {peer_feeds.fullname} SET lease = NULL, leased_until = NULL,"
        " retry_at = now() + make_interval(secs => $3) WHERE platform = $1 AND lease = $2",
        platform,
        lease,
        pause_s,
    )


async def set_back(pg: Any, platform: str, position: int) -> dict[str, Any] | None:
    """Pull again what stands behind `position`; whoever pulls just now is told by losing its lease. How far it is then;
    None when nothing was pulled from this platform yet."""
    row = await pg.fetchrow(
        f"UPDATE {peer_feeds.fullname} SET position = least(position, $2), lease = NULL, leased_until = NULL,"
        f" retry_at = now() WHERE platform = $1 RETURNING {SHOWN}",
        platform,
        position,
    )
    return dict(row) if row else None


async def listed(pg: Any) -> dict[str, dict[str, Any]]:
    """How far each is, by platform."""
    rows = await pg.fetch(f"SELECT {SHOWN} FROM {peer_feeds.fullname}")
    return {row["platform"]: dict(row) for row in rows}
