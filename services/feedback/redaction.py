"""Words of a rating without contact data: what a citizen adds to three questions needs no number.

Masks more than it must (every run of five or more digits, also written with separators), because nothing here is
needed to handle the case (domain.md, "Privacy and audit").
"""

import re
import unicodedata

_PATTERNS = (
    (re.compile(r"[\w.+-]+@[\w-]+(\.[\w-]+)+"), "〔邮箱〕"),
    (re.compile(r"[\u4e00-\u9fff][A-Z][·•\s-]?[A-Z0-9]{5,6}(?![A-Z0-9])", re.IGNORECASE), "〔车牌〕"),
    (re.compile(r"\d(?:[\s\-—_.()（）·+]*\d){4,}[Xx]?"), "〔号码〕"),
    (re.compile(r"[零〇一二三四五六七八九幺]{6,}"), "〔号码〕"),
)


def masked(words: str | None) -> str | None:
    """`words` with numbers, plates and e-mail addresses replaced; None stays None."""
    if words is None:
        return None
    text = unicodedata.normalize("NFKC", words)
    for pattern, mark in _PATTERNS:
        text = pattern.sub(mark, text)
    return text
