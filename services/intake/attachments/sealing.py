"""Files at rest: sealed piece by piece with libsodium's secretstream (XChaCha20-Poly1305), never whole in memory.

A piece that is missing, changed, moved or of another file does not open.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping

from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from nacl import bindings
from nacl.exceptions import CryptoError

PIECE = 65_536
"""bytes that are sealed together"""
_FINAL = bindings.crypto_secretstream_xchacha20poly1305_TAG_FINAL
_MESSAGE = bindings.crypto_secretstream_xchacha20poly1305_TAG_MESSAGE
_HEADER = bindings.crypto_secretstream_xchacha20poly1305_HEADERBYTES
_SEALED = PIECE + bindings.crypto_secretstream_xchacha20poly1305_ABYTES


class Damaged(Exception):
    """What is stored is not what was sealed, or the key is gone."""


class Sealer:
    """`keys` are those of the vault by their ids; files are sealed with keys made from them."""

    def __init__(self, keys: Mapping[str, bytes], current: str) -> None:
        self._keys = {
            key_id: HKDF(algorithm=SHA256(), length=32, salt=None, info=b"sushu attachments").derive(key)
            for key_id, key in keys.items()
        }
        self.current = current

    async def seal(self, attachment_id: str, parts: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
        """The sealed form of a file, with the current key."""
        state = bindings.crypto_secretstream_xchacha20poly1305_state()
        yield bindings.crypto_secretstream_xchacha20poly1305_init_push(state, self._keys[self.current])
        pieces = _even(parts, PIECE)
        piece = await anext(pieces, b"")
        async for following in pieces:
            yield _push(state, piece, attachment_id, _MESSAGE)
            piece = following
        yield _push(state, piece, attachment_id, _FINAL)

    async def open(self, attachment_id: str, key_id: str, parts: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
        """The file again. Raises Damaged, at the latest instead of its last piece."""
        key = self._keys.get(key_id)
        if key is None:
            raise Damaged(f"the key {key_id} is not in the key file: put back the copy that holds it")
        sealed = _even(parts, _SEALED, first=_HEADER)
        state, tag = bindings.crypto_secretstream_xchacha20poly1305_state(), _MESSAGE
        try:
            bindings.crypto_secretstream_xchacha20poly1305_init_pull(state, await anext(sealed, b""), key)
            async for piece in sealed:
                opened, tag = bindings.crypto_secretstream_xchacha20poly1305_pull(state, piece, attachment_id.encode())
                yield opened
        except (CryptoError, ValueError) as error:
            raise Damaged("the file is damaged or belongs to another attachment") from error
        if tag != _FINAL:
            raise Damaged("the file ends too early")


def _push(state: bindings.crypto_secretstream_xchacha20poly1305_state, piece: bytes, name: str, tag: int) -> bytes:
    sealed: bytes = bindings.crypto_secretstream_xchacha20poly1305_push(state, piece, name.encode(), tag)
    return sealed


async def _even(parts: AsyncIterator[bytes], size: int, *, first: int | None = None) -> AsyncIterator[bytes]:
    """The same bytes in pieces of `size` (the first of `first`); the last one may be shorter."""
    held, wanted = bytearray(), first or size
    async for part in parts:
        held += part
        while len(held) >= wanted:
            yield bytes(held[:wanted])
            del held[:wanted]
            wanted = size
    if held:
        yield bytes(held)
