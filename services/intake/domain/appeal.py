"""What an appeal is: numbers and codes, rules of acceptance (domain.md, Appeal; api.md, intake)."""

from __future__ import annotations

import base64
import hashlib
import hmac
import unicodedata
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from enum import StrEnum
from typing import Final

CLOCK_SKEW: Final = timedelta(minutes=5)
"""how far a client's clock may run ahead of ours"""
FEEDBACK_ROUNDS: Final = 3
_GRID: Final = 0.005
"""degrees: the finest coordinates that leave intake"""
_SHANGHAI: Final = timezone(timedelta(hours=8))
_ALPHABET: Final = "23456789ABCDEFGHJKMNPQRSTVWXYZ"  # nothing that is misread over the phone
_QUERY_CODE_LENGTH: Final = 8


class Status(StrEnum):
    """Intake's own part of the life cycle; the rest is derived from other services' events (`case.status_of`)."""

    RECEIVED = "received"
    DECLINED = "declined"
    WITHDRAWN = "withdrawn"


@dataclass(frozen=True, slots=True)
class Fault:
    """One thing wrong with a body: JSON pointer and what to do about it. Never quotes the value: it may be personal."""

    pointer: str
    remedy: str


def reference_no(platform: str, received_at: datetime, number: int) -> str:
    """``<platform>-<yyyymmdd>-<6 digits>``; the day is that of China's one time zone (domain.md, Words)."""
    return f"{platform}-{received_at.astimezone(_SHANGHAI):%Y%m%d}-{number % 1_000_000:06d}"


def query_code(key: bytes, appeal_id: str) -> str:
    """Eight unambiguous characters (39 bits) that a citizen quotes beside the reference number.

    Derived, so that an equal body sent again gets the same answer without the code being stored anywhere.
    """
    number = int.from_bytes(hmac.digest(key, f"query/{appeal_id}".encode(), "sha256")[:16])
    code = ""
    for _ in range(_QUERY_CODE_LENGTH):
        number, index = divmod(number, len(_ALPHABET))
        code += _ALPHABET[index]
    return code


def appeal_secret(key: bytes, appeal_id: str) -> bytes:
    """The 256-bit secret of one appeal; known to intake alone."""
    return hmac.digest(key, f"appeal/{appeal_id}".encode(), "sha256")


def rating_token(secret: bytes, feedback_round: int) -> str:
    """The citizen's one-use token of a feedback round, URL-safe, 256 bits (domain.md, Feedback)."""
    raw = hmac.digest(secret, f"rating/{feedback_round}".encode(), "sha256")
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def rating_token_digests(secret: bytes) -> list[str]:
    """What events carry: SHA-256 in hex of the tokens of rounds 1, 2, 3."""
    return [
        hashlib.sha256(rating_token(secret, feedback_round).encode()).hexdigest()
        for feedback_round in range(1, FEEDBACK_ROUNDS + 1)
    ]


def _plain(text: str) -> str:
    """Full-width letters and digits as ASCII."""
    return text if text.isascii() else unicodedata.normalize("NFKC", text)


def normalised_phone(phone: str) -> str:
    """Digits only, without the country code; "" when there are fewer than five or more than fifteen."""
    digits = "".join(char for char in _plain(phone) if char.isascii() and char.isdigit())
    for prefix in ("0086", "86"):
        if len(digits) == 11 + len(prefix) and digits.startswith(prefix + "1"):
            digits = digits.removeprefix(prefix)
    return digits if 5 <= len(digits) <= 15 else ""


def normalised_id(number: str) -> str:
    """Letters and digits only, upper case; "" unless six to twenty of them are left."""
    value = "".join(char for char in _plain(number) if char.isascii() and char.isalnum()).upper()
    return value if 6 <= len(value) <= 20 else ""


def pseudonym(key: bytes, phone: str | None, id_number: str | None, anonymous: bool) -> str | None:
    """HMAC(platform key, normalised phone or ID number) in hex; None for anonymous (domain.md, Appeal, Repeat)."""
    if anonymous:
        return None
    for kind, value in (("phone", normalised_phone(phone or "")), ("id", normalised_id(id_number or ""))):
        if value:
            return hmac.digest(key, f"{kind}:{value}".encode(), "sha256").hex()
    return None


def rounded(degrees: float) -> float:
    """A coordinate on the grid of 0.005° (some 500 m) that may leave intake (domain.md, Appeal, Place)."""
    return round(round(degrees / _GRID) * _GRID, 3)


def time_faults(now: datetime, occurred_at: datetime | None, taken_at: datetime | None) -> list[Fault]:
    """What happened cannot lie ahead; an emergency action cannot precede the event it answers."""
    faults = []
    latest = now + CLOCK_SKEW
    if occurred_at is not None and occurred_at > latest:
        faults.append(Fault("/occurred_at", "lies in the future; send the time of the event or leave the field out"))
    if taken_at is not None and taken_at > latest:
        faults.append(Fault("/emergency_action/taken_at", "lies in the future; send when the action was taken"))
    if taken_at is not None and occurred_at is not None and taken_at < occurred_at:
        faults.append(Fault("/emergency_action/taken_at", "is before occurred_at; one of the two must be wrong"))
    return faults


def may_end(status: str) -> bool:
    """Whether a case may still be withdrawn or declined: not once it is answered or ended another way."""
    return status not in {"answered", "declined", "withdrawn", "handed_off"}
