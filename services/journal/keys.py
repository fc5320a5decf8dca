"""The journal's one secret: the secrets of all webhooks are derived from it, so none is stored."""

from __future__ import annotations

import os
from pathlib import Path

from shared.security.key_files import write_once

FILE = "webhooks.key"
BYTES = 32


def load(folder: Path, *, make: bool) -> bytes | None:
    """The key in `webhooks.key` of `folder` (hexadecimal). Without the file: with `make` a random one is written, else
    None, and webhooks are off. Raises `ValueError` for a file that holds no key."""
    path = folder / FILE
    if not path.exists():
        if not make:
            return None
        write_new(path)
    try:
        key = bytes.fromhex(path.read_text(encoding="ascii").strip())
    except ValueError:
        key = b""
    if len(key) != BYTES:
        raise ValueError(f"{path} is no key file: put back the copy you kept (64 hexadecimal digits)")
    return key


def write_new(path: Path) -> None:
    """Write a random key to `path`, mode 600; two processes at once: the first one wins, nothing is overwritten."""
    write_once(path, f"{os.urandom(BYTES).hex()}\n".encode("ascii"))
