"""Intake's numbers: the section `intake` of the city's profile."""

from __future__ import annotations

from dataclasses import dataclass, fields

from shared.city import City, CityError
from shared.http.requests import BATCH_LIMIT


@dataclass(frozen=True, slots=True)
class Limits:
    """Of attachments."""

    max_bytes: int = 20_000_000
    """of one file, at most the 32 MB that the gateway lets through"""
    per_appeal: int = 20
    """files of a case that citizens sent, and as many of units"""
    unclaimed: int = 200
    """files of one sender that wait for their appeals"""
    unclaimed_h: int = 24
    """how long they wait"""
    ended_days: int = 30
    """after a withdrawal or 不予受理 what the citizen sent is kept so long"""

    @classmethod
    def of(cls, city: City) -> Limits:
        """Raises `CityError` for a number that cannot be."""
        given = (city.sections.get("intake") or {}).get("attachments") or {}
        names = {field.name for field in fields(cls)}
        wrong = [name for name, value in given.items() if name not in names or type(value) is not int or value < 1]
        if wrong or given.get("max_bytes", 1) > BATCH_LIMIT:
            raise CityError(
                f"profile.yaml, intake/attachments: {', '.join(wrong) or 'max_bytes'} cannot be; whole numbers from 1"
                f" for {', '.join(sorted(names))}, max_bytes at most {BATCH_LIMIT}"
            )
        return cls(**given)
