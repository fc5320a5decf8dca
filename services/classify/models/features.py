"""Character n-grams of many texts at once, as a sparse TF-IDF matrix.

A text is a row of 16-bit code units; an n-gram of up to four units is one exact 64-bit key, so the vocabulary is a
sorted array of numbers: looking up a whole batch is one vectorised search, nothing is hashed, nothing can collide, and
the model file holds no strings to parse.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import sparse

MAX_CHARS = 4_000
"""Characters of a text that are read: the reason of a call stands at its beginning, and one text stays cheap."""

_CHUNK = 10_000

Keys = npt.NDArray[np.uint64]
Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float32]


def _fold_table() -> npt.NDArray[np.uint16]:
    """Map each code unit to the one it counts as: full width to half width, capitals to small letters, digits to `0`
    (numbers name houses, not matters), white space and control characters to the break 0."""
    table = np.arange(0x10000, dtype=np.uint16)
    for code in range(0x10000):
        if 0xD800 <= code <= 0xDFFF:
            continue  # halves of rare characters stay as they are: one pair is one 2-gram
        char = chr(code)
        if char.isspace() or unicodedata.category(char).startswith("C"):
            table[code] = 0
        elif char.isdigit():
            table[code] = ord("0")
        else:
            folded = unicodedata.normalize("NFKC", char).lower()
            table[code] = ord(folded) if len(folded) == 1 and ord(folded) < 0x10000 else code
    return table


_FOLD = _fold_table()


@dataclass(frozen=True, slots=True)
class Grams:
    """Every n-gram of a batch. All arrays have one entry per n-gram.

    `row` is the text's place in the batch, `start` the code unit at which the n-gram begins in that text, `length` its
    order, `key` its exact 64-bit name.
    """

    row: Ints
    start: Ints
    length: Ints
    key: Keys


def grams(texts: Sequence[str], orders: Sequence[int]) -> Grams:
    """Cut `texts` into n-grams of the given orders (each 1–4); n-grams never cross white space or texts."""
    blob = "\0".join(text[:MAX_CHARS].replace("\0", " ") for text in texts) + "\0"
    raw = np.frombuffer(blob.encode("utf-16-le", "surrogatepass"), dtype="<u2")
    ends = np.flatnonzero(raw == 0)
    row_of = np.repeat(np.arange(len(ends)), np.diff(ends, prepend=-1))
    first_of_row = np.concatenate(([0], ends[:-1] + 1))
    units = _FOLD[raw].astype(np.uint64)
    present = units != 0
    rows, starts, lengths, keys = [], [], [], []
    key = np.zeros_like(units)
    whole = np.ones_like(present)
    for order in range(1, max(orders) + 1):
        size = len(units) - order + 1
        if size <= 0:
            break
        key = key[:size] | (units[order - 1 :] << np.uint64(16 * (order - 1)))
        whole = whole[:size] & present[order - 1 :]
        if order in orders:
            at = np.flatnonzero(whole)
            row = row_of[at]
            rows.append(row)
            starts.append(at - first_of_row[row])
            lengths.append(np.full(len(at), order, dtype=np.int64))
            keys.append(key[at])
    empty: Ints = np.empty(0, dtype=np.int64)
    return Grams(
        row=np.concatenate(rows or [empty]),
        start=np.concatenate(starts or [empty]),
        length=np.concatenate(lengths or [empty]),
        key=np.concatenate(keys or [empty.astype(np.uint64)]),
    )


@dataclass(frozen=True, slots=True)
class Encoded:
    """A batch as the model sees it: `matrix` is (texts × features), rows of length 1; `known` is the share of each
    text's n-grams that the vocabulary holds; `row/start/length/feature` locate every known n-gram in its text."""

    matrix: sparse.csr_matrix
    known: Floats
    row: Ints
    start: Ints
    length: Ints
    feature: Ints


@dataclass(frozen=True, slots=True)
class Vocabulary:
    """The n-grams a model knows: `keys` sorted ascending, and the inverse document frequency of each."""

    orders: tuple[int, ...]
    keys: Keys
    idf: Floats

    def __len__(self) -> int:
        return len(self.keys)

    @classmethod
    def fit(
        cls,
        texts: Sequence[str],
        *,
        orders: tuple[int, ...] = (1, 2, 3),
        min_texts: int = 2,
        on_chunk: Callable[[int], None] | None = None,
    ) -> Vocabulary:
        """Keep each n-gram that occurs in at least `min_texts` texts. `on_chunk` hears how many texts were read."""
        keys: Keys = np.empty(0, dtype=np.uint64)
        counts: Ints = np.empty(0, dtype=np.int64)
        for chunk in _chunks(texts):
            found = grams(chunk, orders)
            order = np.lexsort((found.row, found.key))
            key, row = found.key[order], found.row[order]
            fresh = np.ones(len(key), dtype=bool)
            fresh[1:] = (key[1:] != key[:-1]) | (row[1:] != row[:-1])
            chunk_keys, chunk_counts = np.unique(key[fresh], return_counts=True)
            keys, place = np.unique(np.concatenate((keys, chunk_keys)), return_inverse=True)
            counts = np.bincount(place, weights=np.concatenate((counts, chunk_counts)), minlength=len(keys)).astype(
                np.int64
            )
            if on_chunk is not None:
                on_chunk(len(chunk))
        kept = counts >= min_texts
        idf = np.log((1 + len(texts)) / (1 + counts[kept])) + 1
        return cls(orders=orders, keys=keys[kept], idf=idf.astype(np.float32))

    def encode(self, texts: Sequence[str]) -> Encoded:
        """TF-IDF rows with 1 + log(count) and length 1, and where each known n-gram stands."""
        found = grams(texts, self.orders)
        size = len(self.keys)
        if size:
            place = np.searchsorted(self.keys, found.key)
            place[place == size] = 0
            hit = self.keys[place] == found.key
        else:
            place = np.zeros(len(found.key), dtype=np.int64)
            hit = np.zeros(len(found.key), dtype=bool)
        row, feature = found.row[hit], place[hit]
        matrix = sparse.coo_matrix(
            (np.ones(len(row), dtype=np.float32), (row, feature)), shape=(len(texts), size)
        ).tocsr()
        matrix.data = (1 + np.log(matrix.data)) * self.idf[matrix.indices]
        weight = np.bincount(
            np.repeat(np.arange(len(texts)), np.diff(matrix.indptr)), weights=matrix.data**2, minlength=len(texts)
        )
        norm = np.sqrt(np.maximum(weight, 1e-12)).astype(np.float32)
        matrix.data /= np.repeat(norm, np.diff(matrix.indptr))
        total = np.maximum(np.bincount(found.row, minlength=len(texts)), 1)
        known = np.bincount(row, minlength=len(texts)) / total
        return Encoded(matrix, known.astype(np.float32), row, found.start[hit], found.length[hit], feature)

    def restrict(self, kept: npt.NDArray[np.bool_]) -> Vocabulary:
        """The vocabulary without the n-grams that `kept` marks false (one mark per feature)."""
        return Vocabulary(self.orders, self.keys[kept], self.idf[kept])


def _chunks(texts: Sequence[str]) -> Iterator[Sequence[str]]:
    for start in range(0, len(texts), _CHUNK):
        yield texts[start : start + _CHUNK]
