"""From a validated body to what is stored and told: redaction, place, pseudonym, seal (domain.md, Appeal, Privacy)."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from services.intake.domain import appeal as rules
from services.intake.keys import Keys
from services.intake.schemas import AppealBody, LocationBody, ReporterBody
from services.intake.vault import Vault
from shared.errors import Problem
from shared.events.catalog.appeals import Appeal, Emergency, Place, Reporter
from shared.events.catalog.handoffs import JointPart
from shared.http.commands import body_digest
from shared.ids import uuid7
from shared.redaction import redact
from shared.regions import RegionDirectory
from shared.terms import vector

_SPEAKS_FOR_ITSELF = frozenset({"grid", "iot", "platform"})
_NO_ONE = ReporterBody()
_NOWHERE = LocationBody()
_CHINA = (73.0, 136.0, 3.0, 54.0)


@dataclass(frozen=True, slots=True)
class Prepared:
    """One appeal, ready to be written; `reference_no` and `received_at` are given with the transaction."""

    id: str
    platform: str
    source_platform: str
    sender: str
    """who sent it, whoever speaks in it"""
    actor: str
    body: AppealBody
    text: str
    title: str | None
    reporter: Reporter
    place: Place
    emergency: Emergency | None
    rating_digests: list[str]
    external: bytes | None
    """digest of (source platform, external id)"""
    digest: bytes
    """of the canonical body"""
    sealed: bytes
    search: str
    began_at: datetime | None = None
    """when the first platform received it, of a case that was handed over: its clocks count from there"""
    handed_in: str | None = None
    """the hand-over by which it came"""
    came_by: list[str] = field(default_factory=list)
    joint: JointPart | None = None
    """the part of the work that is asked for, of a case that another platform leads"""

    def snapshot(self, reference_no: str, received_at: datetime) -> Appeal:
        """The public state at the moment of receipt."""
        return Appeal(
            id=self.id,
            platform=self.platform,
            reference_no=reference_no,
            channel=self.body.channel,
            text=self.text,
            title=self.title,
            kind=self.body.kind,
            received_at=self.began_at or received_at,
            occurred_at=self.body.occurred_at,
            source_platform=self.source_platform,
            reporter=self.reporter,
            place=self.place,
            emergency_action=self.emergency,
            rating_token_sha256=self.rating_digests,
            status=rules.Status.RECEIVED,
            came_by=self.came_by,
            joint=self.joint,
        )


class Desk:
    """Prepares appeals for one platform. Pure but for randomness: ids and nonces."""

    def __init__(self, platform: str, keys: Keys, vault: Vault, regions: RegionDirectory) -> None:
        self.platform = platform
        self.keys = keys
        self.vault = vault
        self.regions = regions

    def prepare(self, body: AppealBody, source_platform: str, actor: str, now: datetime) -> Prepared:
        """Redact, place, seal. Raises `Problem` 422 for what only the rules can see."""
        emergency = body.emergency_action
        faults = rules.time_faults(now, body.occurred_at, emergency.taken_at if emergency else None)
        if faults:
            raise Problem(
                422,
                "invalid",
                "; ".join(f"{fault.pointer}: {fault.remedy}" for fault in faults),
                errors=[{"pointer": fault.pointer, "detail": fault.remedy} for fault in faults],
            )
        who = body.reporter or _NO_ONE
        where = body.location or _NOWHERE
        names = [who.name] if who.name else []
        numbers = [number for number in (who.phone, who.id_number) if number]
        place = self._place(body, where)
        appeal_id = uuid7()
        text = redact(body.text, names, numbers).text
        title = redact(body.title, names, numbers).text if body.title else None
        secret = rules.appeal_secret(self.keys.codes, appeal_id)
        return Prepared(
            id=appeal_id,
            platform=self.platform,
            source_platform=source_platform,
            sender=actor,
            actor=actor if body.channel in _SPEAKS_FOR_ITSELF else "citizen",
            body=body,
            text=text,
            title=title,
            reporter=Reporter(
                pseudonym=rules.pseudonym(self.keys.pseudonym, who.phone, who.id_number, who.anonymous),
                groups=list(dict.fromkeys(who.groups)),
                anonymous=who.anonymous,
                confidential=who.confidential,
            ),
            place=place,
            emergency=Emergency(
                taken_at=emergency.taken_at,
                by=redact(emergency.by, names, numbers).text,
                what=redact(emergency.what, names, numbers).text,
            )
            if emergency
            else None,
            rating_digests=rules.rating_token_digests(secret),
            external=external_digest(source_platform, body.external_id) if body.external_id else None,
            digest=body_digest(body.canonical()),
            sealed=self.vault.seal(appeal_id, _private(body, who, where)),
            search=vector(title, text),
        )

    def _place(self, body: AppealBody, where: LocationBody) -> Place:
        """The code the client gives, deepened by the address; else the address and point; else the words themselves."""
        lon, lat = where.lon, where.lat
        if lon is None or lat is None or not _in_china(lon, lat):
            lon = lat = None
        found = self.regions.resolve(where.address or "", self.platform, lon, lat)
        if where.region_code is not None:
            given = self.regions.current(where.region_code)
            if self.regions.get(given) is None and not self.regions.ancestors(given):
                remedy = "is no code of GB/T 2260; send one of the division tree or leave the field out"
                pointer = "/location/region_code"
                raise Problem(422, "invalid", f"{pointer}: {remedy}", errors=[{"pointer": pointer, "detail": remedy}])
            deeper = found.confidence >= 0.5 and found.region_code != given
            inside = deeper and self.regions.is_within(found.region_code, given)
            code, confidence = (found.region_code, found.confidence) if inside else (given, 1.0)
        else:
            if found.confidence == 0.0:
                found = self.regions.resolve(f"{body.title or ''} {body.text}", self.platform)
            code, confidence = found.region_code, found.confidence
        return Place(
            region_code=code,
            confidence=confidence,
            candidates=[candidate for candidate, _ in found.candidates if candidate != code],
            lon=rules.rounded(lon) if lon is not None else None,
            lat=rules.rounded(lat) if lat is not None else None,
        )


def external_digest(source_platform: str, external_id: str) -> bytes:
    """What (source platform, external id) is kept as: equal length, and no identifier of others in the clear."""
    return hashlib.sha256(f"{source_platform}\x1f{external_id}".encode()).digest()


def _private(body: AppealBody, who: ReporterBody, where: LocationBody) -> Mapping[str, Any]:
    fields: dict[str, Any] = {
        "name": who.name,
        "phone": who.phone,
        "id_number": who.id_number,
        "address": where.address,
        "lon": where.lon,
        "lat": where.lat,
        "title": body.title,
        "text": body.text,
        "external_id": body.external_id,
        "attachments": body.attachments,
    }
    return {name: value for name, value in fields.items() if value is not None}


def _in_china(lon: float, lat: float) -> bool:
    west, east, south, north = _CHINA
    return west <= lon <= east and south <= lat <= north
