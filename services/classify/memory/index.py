"""Decisions of persons in this process, found by the wording of a new text in some microseconds.

Bounded: the oldest give way. One decision a wording and person is kept, so that nobody can fill it by deciding the same
again and again.
"""

from __future__ import annotations

import hashlib
from collections import Counter, OrderedDict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from threading import Lock

import numpy as np

from services.classify.domain.recollection import NEAR
from services.classify.domain.similarity import similarity

_KEYS = 8
"""smallest hashes of a sketch under which it is found"""
_SHARED = 4
"""so many of them two texts must share to be compared"""
_PER_KEY = 64
"""latest wordings that are kept under one key: words that every call begins with find no more"""
_COMPARED = 8
"""wordings that one text is compared with, those that share most keys"""


def wording(sketch: Sequence[int]) -> int:
    """The name of a wording, a 64-bit number: equal for texts of equal words."""
    return int.from_bytes(hashlib.blake2b(packed(sketch), digest_size=8).digest(), "big", signed=True)


def packed(sketch: Sequence[int]) -> bytes:
    """A sketch as it is stored: 4 bytes a number."""
    return np.asarray(sketch, dtype="<i4").tobytes()


@dataclass(frozen=True, slots=True)
class Decided:
    """A person's last decision about a wording; `sketch` as `packed` made it. `matter` None: it was overturned."""

    wording: int
    actor: str
    matter: str | None
    catalogue: str
    at: datetime
    sketch: bytes


class Index:
    """Safe to ask from one thread while another learns."""

    def __init__(self, capacity: int) -> None:
        self.capacity = capacity
        self._decided: OrderedDict[tuple[int, str], Decided] = OrderedDict()
        self._by_wording: dict[int, dict[str, Decided]] = {}
        self._by_key: dict[int, tuple[int, ...]] = {}
        self._lock = Lock()

    def __len__(self) -> int:
        return len(self._decided)

    def learn(self, decisions: Iterable[Decided]) -> None:
        """Take decisions over in the order in which they were made."""
        with self._lock:
            for one in decisions:
                self._forget((one.wording, one.actor))
                if one.matter is None or not one.sketch:
                    continue
                self._decided[(one.wording, one.actor)] = one
                persons = self._by_wording.setdefault(one.wording, {})
                if not persons:
                    for key in _keys(one.sketch):
                        self._by_key[key] = (*self._by_key.get(key, ())[1 - _PER_KEY :], one.wording)
                persons[one.actor] = one
                if len(self._decided) > self.capacity:
                    self._forget(next(iter(self._decided)))

    def _forget(self, name: tuple[int, str]) -> None:
        one = self._decided.pop(name, None)
        if one is None:
            return
        persons = self._by_wording[one.wording]
        del persons[one.actor]
        if persons:
            return
        del self._by_wording[one.wording]
        for key in _keys(one.sketch):
            rest = tuple(name for name in self._by_key.get(key, ()) if name != one.wording)
            if rest:
                self._by_key[key] = rest
            else:
                self._by_key.pop(key, None)

    def recall(self, sketch: Sequence[int]) -> list[tuple[Decided, float]]:
        """Decisions about texts worded like the one behind `sketch`, each with the similarity (NEAR to 1)."""
        if not sketch or not self._decided:
            return []
        with self._lock:
            own = wording(sketch)
            found = [(one, 1.0) for one in self._by_wording.get(own, {}).values()]
            shared: Counter[int] = Counter()
            for key in sketch[:_KEYS]:
                shared.update(self._by_key.get(key, ()))
            least = min(_SHARED, (len(sketch) + 1) // 2)
            for name, count in shared.most_common(_COMPARED):
                if count < least:
                    break
                if name == own:
                    continue
                persons = self._by_wording[name]
                near = similarity(sketch, _unpacked(next(iter(persons.values())).sketch))
                if near >= NEAR:
                    found += [(one, near) for one in persons.values()]
            return found


def _unpacked(sketch: bytes) -> list[int]:
    return np.frombuffer(sketch, dtype="<i4").tolist()  # type: ignore[no-any-return]


def _keys(sketch: bytes) -> list[int]:
    return _unpacked(sketch[: 4 * _KEYS])
