"""Contact data at rest: AES-256-GCM with a key id, bound to the appeal it belongs to (domain.md, Privacy and audit)."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

import orjson
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

_NONCE = 12

FIELDS = ("name", "phone", "id_number", "address", "lon", "lat", "title", "text", "external_id")
"""what a sealed record may hold and `unmask` may name"""


class VaultError(Exception):
    """A sealed record that cannot be opened: unknown key id, another appeal's record, or damage."""


class Vault:
    """Seals the private fields of one appeal as one record."""

    def __init__(self, keys: Mapping[str, bytes], current: str) -> None:
        self._ciphers = {key_id: AESGCM(key) for key_id, key in keys.items()}
        self.current = current

    def seal(self, appeal_id: str, fields: Mapping[str, Any]) -> bytes:
        """Nonce and ciphertext; the appeal id is associated data, so a record moved to another row does not open."""
        nonce = os.urandom(_NONCE)
        return nonce + self._ciphers[self.current].encrypt(nonce, orjson.dumps(fields), appeal_id.encode())

    def open(self, appeal_id: str, key_id: str, sealed: bytes) -> dict[str, Any]:
        """The fields. Raises `VaultError`."""
        cipher = self._ciphers.get(key_id)
        if cipher is None:
            raise VaultError(f"the key {key_id} is not in the key file: put back the copy that holds it")
        try:
            opened = cipher.decrypt(sealed[:_NONCE], sealed[_NONCE:], appeal_id.encode())
        except InvalidTag:
            raise VaultError("the record is damaged or belongs to another appeal") from None
        fields: dict[str, Any] = orjson.loads(opened)
        return fields
