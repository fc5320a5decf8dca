"""Takes personal data out of free text before the first event (domain.md, Privacy and audit).

``redact`` is pure and linear in the length of the text: every pattern consumes each character a bounded number of
times, so a hostile text costs no more than an honest one. What was found is replaced by a typed placeholder such as
〔电话〕, which keeps the sentence readable and the model's features stable; redacting twice changes nothing.

Kinds: ``phone`` ``id_number`` ``bank_card`` ``plate`` ``email`` ``account`` (WeChat, QQ) ``document`` (passport,
permits) ``address`` (door, building chain, room) ``name``.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field
from typing import Final, overload

from shared.redaction.addresses import find_addresses
from shared.redaction.identifiers import find_accounts, find_documents, find_emails, find_plates
from shared.redaction.names import find_known_names, find_names
from shared.redaction.numbers import find_known_numbers, find_numbers, find_spelled_numbers
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


def _replace(text: str, spans: list[Span]) -> Redacted:
    pieces: list[str] = []
    counts: dict[str, int] = {}
    position = 0
    for span in sorted(spans):
        pieces += (text[position : span.start], PLACEHOLDERS[span.kind])
        position = span.end
        counts[span.kind] = counts.get(span.kind, 0) + 1
    pieces.append(text[position:])
    return Redacted("".join(pieces), counts)


@overload
def clean(words: str) -> str: ...
@overload
def clean(words: None) -> None: ...
def clean(words: str | None) -> str | None:
    """What a person typed (a note, a reason, a result), as it may go into events: personal data is taken out."""
    return redact(words).text if words else words
