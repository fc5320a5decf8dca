"""The secrets that a local stack makes for itself: every one random, mode 600, never printed, never a default.

keys/token_signing.pem   Ed25519, signs the tokens of POST /v1/tokens
keys/vault.key           32 bytes, encrypts contact data in intake's vault
keys/pseudonym.key       32 bytes, makes the pseudonym of a reporter (HMAC)
admin.token              opaque bearer token with role admin, unless SUSHU_ADMIN_TOKEN says another
"""

import os
import secrets
from collections.abc import Callable
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

KEY_BYTES = 32


def _signing_key() -> bytes:
    return Ed25519PrivateKey.generate().private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


def _random_key() -> bytes:
    return secrets.token_hex(KEY_BYTES).encode() + b"\n"


_KEYS: dict[str, Callable[[], bytes]] = {
    "token_signing.pem": _signing_key,
    "vault.key": _random_key,
    "pseudonym.key": _random_key,
}


def ensure_keys(data_dir: Path) -> Path:
    """Make what is missing in `<data dir>/keys`; existing keys are never replaced. Returns that folder."""
    folder = data_dir / "keys"
    folder.mkdir(mode=0o700, exist_ok=True)
    for name, make in _KEYS.items():
        _write_once(folder / name, make)
    return folder


def ensure_admin_token(data_dir: Path, given: str | None) -> tuple[str, Path | None]:
    """The admin token and the file it is in; no file when the person gave the token."""
    if given:
        return given, None
    path = data_dir / "admin.token"
    _write_once(path, lambda: secrets.token_urlsafe(KEY_BYTES).encode() + b"\n")
    return path.read_text(encoding="utf-8").strip(), path


def _write_once(path: Path, make: Callable[[], bytes]) -> None:
    if path.exists() and path.stat().st_size:
        path.chmod(0o600)
        return
    draft = path.with_name(f".{path.name}.new")
    draft.unlink(missing_ok=True)
    handle = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(handle, "wb") as file:
        file.write(make())
        file.flush()
        os.fsync(file.fileno())
    draft.replace(path)
