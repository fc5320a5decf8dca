"""The platform's own keys: Ed25519 seeds by number, in `platform.json` of the key folder (mode 600).

One key pair serves both: it signs requests (Ed25519), and its X25519 form opens what is sealed to the platform.
"""

import base64
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import orjson
from nacl.exceptions import CryptoError
from nacl.public import SealedBox
from nacl.signing import SigningKey, VerifyKey

from shared.federation.directory import Directory, stamp
from shared.security.key_files import write_once

FILE = "platform.json"


class SealError(ValueError):
    """What was sealed cannot be opened: for another platform, under a key that is gone, or damaged."""


@dataclass(frozen=True, slots=True)
class PlatformKeys:
    """Seeds (32 bytes) by number."""

    platform: str
    seeds: Mapping[int, bytes]

    def public(self) -> dict[int, bytes]:
        """What the directory lists."""
        return {number: bytes(SigningKey(seed).verify_key) for number, seed in self.seeds.items()}

    def newest(self, directory: Directory) -> tuple[str, SigningKey]:
        """Keyid and key to sign with: the newest that the directory lists, so that a key may be made before it is
        published; the newest of all when none is listed."""
        peer = directory.peers.get(self.platform)
        listed = [number for number, raw in self.public().items() if peer and peer.keys.get(number) == raw]
        number = max(listed or self.seeds)
        return f"{self.platform}#{number}", SigningKey(self.seeds[number])

    def open(self, sealed: bytes) -> bytes:
        """The inverse of `seal` with any of the keys. Raises SealError."""
        for number in sorted(self.seeds, reverse=True):
            box = SealedBox(SigningKey(self.seeds[number]).to_curve25519_private_key())
            try:
                return box.decrypt(sealed)
            except (CryptoError, ValueError, TypeError):
                continue
        raise SealError("sealed to none of this platform's keys, or damaged")


def seal(public_key: bytes, plain: bytes) -> bytes:
    """`plain` for the owner of a raw Ed25519 public key alone: libsodium's `crypto_box_seal` to its X25519 form
    (`crypto_sign_ed25519_pk_to_curve25519`). Raises SealError for bytes that are no key."""
    try:
        return SealedBox(VerifyKey(public_key).to_curve25519_public_key()).encrypt(plain)
    except (CryptoError, ValueError, TypeError, RuntimeError) as error:
        raise SealError("the directory's key is no Ed25519 public key") from error


class KeyFile:
    """The keys as they are in their file, read again when it changed."""

    def __init__(self, folder: Path, platform: str, *, make: bool) -> None:
        self.path = folder / FILE
        self.platform = platform
        if make and not self.path.exists():
            add_key(self.path)
        self._seen: object = None
        self._keys: PlatformKeys | None = None

    def look(self) -> PlatformKeys | None:
        """The keys in force; None without a file. A file that cannot be read leaves the last good ones.

        Raises ValueError when there never was a good one.
        """
        mark = stamp(self.path)
        if mark is not None and mark != self._seen:
            try:
                self._keys = PlatformKeys(self.platform, read_seeds(self.path))
            except ValueError:
                if self._keys is None:
                    raise
            self._seen = mark
        return self._keys


def read_seeds(path: Path) -> dict[int, bytes]:
    """Raises ValueError saying what to do."""
    try:
        held = orjson.loads(path.read_bytes())["keys"]
        seeds = {int(number): base64.b64decode(text, validate=True) for number, text in held.items()}
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"{path} is no key file: put back the copy you kept ({type(error).__name__})") from None
    if not seeds or any(len(seed) != 32 or number < 1 for number, seed in seeds.items()):
        raise ValueError(f"{path}: every key has a number from 1 and 32 bytes in base64")
    return seeds


def add_key(path: Path) -> int:
    """Adds a random key under the next number, makes the file when there is none; returns the number."""
    seeds = read_seeds(path) if path.exists() else {}
    number = max(seeds, default=0) + 1
    seeds[number] = os.urandom(32)
    listed = {str(one): base64.b64encode(seed).decode() for one, seed in sorted(seeds.items())}
    content = orjson.dumps({"keys": listed}, option=orjson.OPT_INDENT_2)
    if number == 1:
        return number if write_once(path, content) else max(read_seeds(path))
    fresh = path.with_name(f"{path.name}.{os.getpid()}.new")
    fresh.touch(mode=0o600)
    fresh.write_bytes(content)
    fresh.replace(path)
    return number
