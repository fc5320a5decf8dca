"""Takes personal data out of free text before the first event (domain.md, Privacy and audit).

``redact`` is pure and linear in the length of the text: every pattern consumes each character a bounded number of
times, so a hostile text costs no more than an honest one. What was found is replaced by a typed placeholder such as
〔电话〕, which keeps the sentence readable and the model's features stable; redacting twice changes nothing.

Kinds: ``phone`` ``id_number`` ``bank_card`` ``plate`` ``email`` ``account`` (WeChat, QQ) ``document`` (passport,
permits) ``address`` (door, building chain, room) ``name``. A text with several values of a kind numbers them
(〔电话1〕, 〔电话2〕), and the same value has the same number, so that a reader can still tell who is who.
"""

from __future__ import annotations

import re
from collections.abc import Collection
from dataclasses import dataclass, field
from typing import Final, overload

from shared.redaction.addresses import find_addresses
from shared.redaction.identifiers import find_accounts, find_documents, find_emails, find_plates
from shared.redaction.names import find_known_names, find_names
from shared.redaction.numbers import digits_of, find_known_numbers, find_numbers, find_spelled_numbers
from shared.redaction.scan import Claims, Span, normalise

__all__ = ["PLACEHOLDERS", "Redacted", "clean", "redact"]

PLACEHOLDERS: Final[dict[str, str]] = {
    "phone": "〔电话〕",
    "id_number": "〔身份证号〕",
    "bank_card": "〔银行卡号〕",
    "plate": "〔车牌〕",
    "email": "〔邮箱〕",
    "account": "〔社交账号〕",
    "document": "〔证件号〕",
    "address": "〔门牌〕",
    "name": "〔姓名〕",
}


@dataclass(frozen=True, slots=True)
class Redacted:
    """The text that may leave intake, and how many places of each kind were replaced in it."""

    text: str
    found: dict[str, int] = field(default_factory=dict)


def redact(text: str, names: Collection[str] = (), numbers: Collection[str] = ()) -> Redacted:
    """Replace personal data in ``text``.

    ``names`` and ``numbers`` are what the reporter gave about themselves: they go wherever they appear, in any context
    and with any separators between digits.
    """
    if not text:
        return Redacted("")
    plain = normalise(text)
    claims = Claims(len(text))
    # earlier finders win where two claim the same characters
    claims.add(find_known_numbers(plain, numbers))
    claims.add(find_emails(plain))
    claims.add(find_plates(plain))
    claims.add(find_numbers(plain))
    claims.add(find_spelled_numbers(plain))
    claims.add(find_accounts(plain))
    claims.add(find_documents(plain))
    claims.add(find_addresses(plain))
    claims.add(find_known_names(plain, names))
    claims.add(find_names(plain, [span for span in claims.spans if span.kind == "phone"]))
    return _replace(text, claims.spans) if claims.spans else Redacted(text)


_STANDING: Final = re.compile("〔(?P<kind>[^〔〕0-9]{1,6})(?P<number>[0-9]{0,3})〕")


def _replace(text: str, spans: list[Span]) -> Redacted:
    """One value of a kind is 〔电话〕; where a text has several they are 〔电话1〕, 〔电话2〕 …, equal values alike."""
    standing: dict[str, int] = {}
    for there in _STANDING.finditer(text) if "〔" in text else ():
        name = f"〔{there['kind']}〕"
        standing[name] = max(standing.get(name, 0), int(there["number"] or 1))
    values: dict[str, dict[str, int]] = {}
    for span in sorted(spans):
        own = values.setdefault(span.kind, {})
        own.setdefault(_value(text, span), standing.get(PLACEHOLDERS[span.kind], 0) + len(own) + 1)
    pieces: list[str] = []
    counts: dict[str, int] = {}
    position = 0
    for span in sorted(spans):
        mark, own = PLACEHOLDERS[span.kind], values[span.kind]
        if len(own) > 1 or mark in standing:
            mark = f"{mark[:-1]}{own[_value(text, span)]}〕"
        pieces += (text[position : span.start], mark)
        position = span.end
        counts[span.kind] = counts.get(span.kind, 0) + 1
    pieces.append(text[position:])
    return Redacted("".join(pieces), counts)


def _value(text: str, span: Span) -> str:
    """What tells one value from another: its letters and digits, whatever stands between them."""
    said = "".join(char for char in digits_of(normalise(text[span.start : span.end])).upper() if char.isalnum())
    return said.removeprefix("00").removeprefix("86") if span.kind == "phone" and len(said) > 11 else said


@overload
def clean(words: str) -> str: ...
@overload
def clean(words: None) -> None: ...
def clean(words: str | None) -> str | None:
    """What a person typed (a note, a reason, a result), as it may go into events: personal data is taken out."""
    return redact(words).text if words else words
