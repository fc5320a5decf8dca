"""How alike two texts are, from their character pairs: cheap enough to ask for every appeal.

Jaccard over the sets of character 2-grams; 1 is the same text, texts about different things stay below 0.2. A sketch
keeps the 64 smallest hashes of the set, so that an estimate needs no text (MinHash, bottom-k variant: Broder 1997).
"""

from __future__ import annotations

import re
import zlib
from collections.abc import Collection

SKETCH_SIZE = 64
MAX_CHARS = 600

_NOISE = re.compile(r"[\W_]+|\d{6,}")
"""also the numbers of tickets, meters and orders: they differ in texts that say the same"""


def sketch(text: str) -> tuple[int, ...]:
    """The 64 smallest 31-bit hashes of the text's character pairs, ascending; empty for a text without two letters."""
    letters = _NOISE.sub("", text[:MAX_CHARS]).lower()
    pairs = {letters[at : at + 2] for at in range(len(letters) - 1)}
    return tuple(sorted({zlib.crc32(pair.encode("utf-8", "surrogatepass")) >> 1 for pair in pairs})[:SKETCH_SIZE])


def similarity(left: Collection[int], right: Collection[int]) -> float:
    """Estimated Jaccard similarity (0–1) of the texts behind two sketches; exact while both have under 64 pairs."""
    if not left or not right:
        return 0.0
    a, b = set(left), set(right)
    smallest = sorted(a | b)[:SKETCH_SIZE] if len(a) == SKETCH_SIZE or len(b) == SKETCH_SIZE else a | b
    return sum(1 for value in smallest if value in a and value in b) / len(smallest)
