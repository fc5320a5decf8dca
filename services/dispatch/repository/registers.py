"""The SQL of units and duties and of the versions in force."""

from collections.abc import Mapping, Sequence
from datetime import date, datetime, time
from typing import Any

import msgspec

from services.dispatch import tables
from services.dispatch.domain.duties import Duty, DutyKind
from services.dispatch.domain.units import Unit
from shared.db import bulk
from shared.db.where import Where, prefixed
from shared.events.catalog.catalogues import CatalogueVersion

_units = msgspec.json.Decoder(list[Unit])
_json = msgspec.json.Encoder()


async def registry_versions(pg: Any) -> dict[str, int]:
    rows = await pg.fetch(f"SELECT name, version FROM {tables.registries.fullname}")
    return {row["name"]: row["version"] for row in rows}


async def set_registry(pg: Any, name: str, version: int | None = None) -> int:
    """Make `version` (or the next one) the version in force; every process reads it anew before its next batch."""
    number: int = await pg.fetchval(
        f"INSERT INTO {tables.registries.fullname} AS t (name, version) VALUES ($1, coalesce($2::bigint, 1))"
        " ON CONFLICT (name) DO UPDATE SET version = coalesce($2::bigint, t.version + 1) RETURNING version",
        name,
        version,
    )
    return number


async def read_units(pg: Any, version: int) -> list[Unit] | None:
    """The units of one imported version; None when there is no such version."""
    raw = await pg.fetchval(f"SELECT units::text FROM {tables.unit_versions.fullname} WHERE version = $1", version)
    return _units.decode(raw) if raw is not None else None


async def add_units(pg: Any, units: Sequence[Unit], source: str, by: str, at: datetime) -> int:
    """Store a version that is not in force yet; returns its number."""
    number: int = await pg.fetchval(
        f"INSERT INTO {tables.unit_versions.fullname} (units, source, created_at, created_by)"
        " VALUES ($1::jsonb, $2, $3, $4) RETURNING version",
        _json.encode(units).decode(),
        source,
        at,
        by,
    )
    return number


async def activate_units(pg: Any, version: int, by: str, at: datetime) -> None:
    await pg.execute(
        f"UPDATE {tables.unit_versions.fullname} SET activated_at = $2, activated_by = $3 WHERE version = $1",
        version,
        at,
        by,
    )
    await set_registry(pg, "units", version)


async def keep_catalogues(pg: Any, versions: Sequence[tuple[int, CatalogueVersion]]) -> None:
    """The newest of each version of the catalogue."""
    rows = [
        {"version": one.version, "sequence": sequence, "codes": one.codes, "effective_from": one.effective_from}
        for sequence, one in sorted(versions, key=lambda pair: pair[1].version)
    ]
    await bulk.insert(
        pg,
        tables.catalogues,
        rows,
        conflict=("version",),
        update=("sequence", "codes", "effective_from"),
        where="excluded.sequence > t.sequence",
    )


async def known_matters(pg: Any, at: datetime) -> list[str]:
    """Codes of the catalogue in force at `at`, and of every newer version: units and duties are prepared for it. Empty
    while classify has told of none."""
    rows = await pg.fetch(
        f"SELECT codes FROM {tables.catalogues.fullname} WHERE version >= coalesce((SELECT version"
        f" FROM {tables.catalogues.fullname} WHERE effective_from <= $1"
        " ORDER BY effective_from DESC, version DESC LIMIT 1), 0)",
        at,
    )
    return [code for row in rows for code in row["codes"]]


async def read_duties(pg: Any) -> tuple[Duty, ...]:
    rows = await pg.fetch(f"SELECT * FROM {tables.duties.fullname} ORDER BY id")
    return tuple(duty_of(row) for row in rows)


def duty_of(row: Mapping[str, Any]) -> Duty:
    return Duty(
        id=row["id"],
        kind=DutyKind(row["kind"]),
        matter=row["matter"],
        region_code=row["region_code"],
        lead=row["lead"],
        co_handlers=tuple(row["co_handlers"]),
        valid_from=row["valid_from"],
        valid_to=row["valid_to"],
        from_time=row["from_time"],
        to_time=row["to_time"],
        source=row["source"],
        note=row["note"],
    )


def _day(value: date | time | None) -> str | None:
    return value.isoformat() if value is not None else None


async def add_duties(pg: Any, duties: Sequence[Duty], by: str, at: datetime) -> None:
    """Add entries; one that is there already stays as it is."""
    rows = [
        {
            "id": duty.id,
            "kind": duty.kind.value,
            "matter": duty.matter,
            "region_code": duty.region_code,
            "lead": duty.lead,
            "co_handlers": duty.co_handlers,
            "valid_from": _day(duty.valid_from),
            "valid_to": _day(duty.valid_to),
            "from_time": _day(duty.from_time),
            "to_time": _day(duty.to_time),
            "source": duty.source,
            "note": duty.note,
            "created_at": at,
            "created_by": by,
        }
        for duty in duties
    ]
    await bulk.insert(pg, tables.duties, rows, conflict=("id",))
    await set_registry(pg, "duties")


async def rules_off(pg: Any) -> dict[str, tuple[str, datetime]]:
    """Rules that are not asked: why, and since when."""
    rows = await pg.fetch(f"SELECT rule, reason, since FROM {tables.rules_off.fullname}")
    return {row["rule"]: (row["reason"], row["since"]) for row in rows}


async def switch_off(pg: Any, rule: str, reason: str, at: datetime) -> None:
    """Ask `rule` no more; the first reason stays."""
    await pg.execute(
        f"INSERT INTO {tables.rules_off.fullname} (rule, reason, since) VALUES ($1, $2, $3) ON CONFLICT DO NOTHING",
        rule,
        reason,
        at,
    )
    await set_registry(pg, "rules_off")


async def switch_on(pg: Any, rule: str) -> bool:
    """Ask `rule` again; False when it was not off."""
    gone = await pg.fetchval(f"DELETE FROM {tables.rules_off.fullname} WHERE rule = $1 RETURNING true", rule)
    if gone:
        await set_registry(pg, "rules_off")
    return gone is not None


async def replace_duties(pg: Any, gone: Sequence[str], added: Sequence[Duty], by: str, at: datetime) -> None:
    """Take entries away by id and add others, as one version."""
    await pg.execute(f"DELETE FROM {tables.duties.fullname} WHERE id = ANY($1)", list(gone))
    if added:
        await add_duties(pg, added, by, at)
    else:
        await set_registry(pg, "duties")


async def end_duties(pg: Any, last: date, *, duty_id: str = "", source: str = "") -> list[Duty]:
    """Let the entry `duty_id`, or those of a source, hold until `last` at most; they stay as a record."""
    rows = await pg.fetch(
        f"UPDATE {tables.duties.fullname} SET valid_to = least(valid_to, $1) WHERE id = $2 OR source = $3 RETURNING *",
        last,
        duty_id,
        source,
    )
    if rows:
        await set_registry(pg, "duties")
    return [duty_of(row) for row in rows]


async def list_duties(
    pg: Any, matter: str | None, region: str | None, kind: str | None, after: str | None, limit: int
) -> list[dict[str, Any]]:
    where = Where()
    if matter:
        where.add("matter LIKE ?", prefixed(matter))
    if region:
        where.add("region_code LIKE ?", prefixed(region))
    if kind:
        where.add("kind = ?", kind)
    if after:
        where.add("id > ?", after)
    sql = f"SELECT * FROM {tables.duties.fullname} WHERE {where} ORDER BY id LIMIT {limit:d}"
    return [dict(row) for row in await pg.fetch(sql, *where.values)]
