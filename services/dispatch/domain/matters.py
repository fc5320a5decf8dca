"""Which matters there are: what an imported file may name."""

from bisect import bisect_left
from collections.abc import Iterable


class Matters:
    """The codes of the catalogue. Empty: none is known, so nothing is unknown."""

    def __init__(self, codes: Iterable[str] = ()) -> None:
        self._codes = sorted(set(codes))

    def fault(self, prefix: str) -> str | None:
        """What is wrong with a matter code or a prefix of one (empty: any matter), None when it names a matter."""
        if prefix and not prefix.isdecimal():
            return f"{prefix!r} is no matter code or prefix of one"
        place = bisect_left(self._codes, prefix)
        named = place < len(self._codes) and self._codes[place].startswith(prefix)
        return None if named or not self._codes else f"{prefix!r} is no matter of the catalogue (GET /v1/matters)"


NO_MATTERS = Matters()
