"""What may lie outside the hotline's bounds: only ever a proposal to a person, who decides and says why (domain.md,
Appeal: Out-of-bounds or malicious)."""

from __future__ import annotations

import re

OFTEN = 10
"""so many appeals of one reporter within a day are shown to a person; each is handled as it is meanwhile"""

# matters that a court, an arbitration or a review has in hand, and words that are no request
_ELSEWHERE = re.compile(
    r"(?:法院|仲裁(?:委|庭|院)?)[^，。；！？不没未]{0,6}(?:判决|裁决|裁定|开庭|立案|受理|调解书)"
    r"|不服(?:法院|一审|二审|终审|仲裁)?[^，。；]{0,4}(?:判决|裁决|裁定)"
    r"|(?:正在|已经?|已申请)(?:行政复议|行政诉讼|提起诉讼|申请仲裁)|(?:信访|复查|复核)[^，。；]{0,4}终结"
)
_NOT_YET = re.compile(r"(?:怎么|如何|想|要|咨询|请问|能否|可以|打算|准备)[^，。；]{0,8}$")


def out_of_bounds(text: str) -> str | None:
    """The words that suggest that another authority has the matter in hand; None where there are none, or where the
    citizen asks how to get there."""
    for match in _ELSEWHERE.finditer(text):
        if not _NOT_YET.search(text[max(0, match.start() - 12) : match.start()]):
            return match.group()
    return None
