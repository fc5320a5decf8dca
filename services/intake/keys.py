"""Intake's secrets: what seals the vault, makes pseudonyms and derives codes (docs/privacy.md)."""

from __future__ import annotations

import base64
import os
from dataclasses import dataclass
from pathlib import Path

import orjson

from shared.security.key_files import write_once

FILE = "intake.json"


@dataclass(frozen=True, slots=True)
class Keys:
    """All 256 bits long. `vault` may be rotated: old ids stay to open what they sealed; the other two never change,
    or repeats of one citizen and codes given out would no longer be recognised."""

    current: str
    vault: dict[str, bytes]
    pseudonym: bytes
    codes: bytes

    @classmethod
    def load(cls, folder: Path, *, make: bool) -> Keys:
        """Read `intake.json` of `folder`; with `make`, write one of random keys (mode 600) when there is none.

        Raises `FileNotFoundError` (without `make`) or `ValueError`, both saying what to do.
        """
        path = folder / FILE
        if not path.exists():
            if not make:
                raise FileNotFoundError(
                    f"{path} is missing: write it with `python -m services.intake keys {path}` and keep a copy safe"
                )
            write_new(path)
        try:
            held = orjson.loads(path.read_bytes())
            vault = {str(name): base64.b64decode(value) for name, value in held["vault"].items()}
            keys = cls(
                str(held["current"]), vault, base64.b64decode(held["pseudonym"]), base64.b64decode(held["codes"])
            )
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise ValueError(f"{path} is no key file: put back the copy you kept ({type(error).__name__})") from None
        if keys.current not in vault or any(len(key) != 32 for key in (*vault.values(), keys.pseudonym, keys.codes)):
            raise ValueError(f"{path}: every key needs 32 bytes and `current` must name one of `vault`")
        return keys


def write_new(path: Path) -> None:
    """Write random keys to `path`, mode 600; two processes at once: the first one wins, nothing is overwritten."""
    body = {
        "current": "1",
        "vault": {"1": base64.b64encode(os.urandom(32)).decode()},
        "pseudonym": base64.b64encode(os.urandom(32)).decode(),
        "codes": base64.b64encode(os.urandom(32)).decode(),
    }
    write_once(path, orjson.dumps(body, option=orjson.OPT_INDENT_2))
