"""The admin token of a local stack: random, mode 600, never printed, never a default.

The other keys are made by those who use them (`shared/security/tokens.py`, intake's vault), in `<data dir>/keys`.
"""

import secrets
from pathlib import Path

from deploy.local.folder import write_atomically

TOKEN_BYTES = 32


def ensure_admin_token(data_dir: Path, given: str) -> tuple[str, Path | None]:
    """The opaque bearer token with role admin, and the file it is in (None when the person gave the token).

    An existing token is never replaced.
    """
    if given:
        return given, None
    path = data_dir / "admin.token"
    if not path.exists() or not path.stat().st_size:
        write_atomically(path, secrets.token_urlsafe(TOKEN_BYTES) + "\n", 0o600)
    path.chmod(0o600)
    return path.read_text(encoding="utf-8").strip(), path
