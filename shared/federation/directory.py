"""The platform directory (`SUSHU_PLATFORMS`): who is who, where, under which keys, and who hands over directly.

platforms:
  - {code: "460100", level: 2, parent: "460000", base_url: "https://…", keys: {"1": "<Ed25519, base64>"}}
agreements:
  - {platforms: ["110000", "120000", "130000"], until: 2030-12-31}
"""

import base64
import logging
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date, datetime
from itertools import pairwise
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import yaml

log = logging.getLogger(__name__)

_CODE = re.compile(r"\d{6}")
KEYID = re.compile(r"(\d{6})#([1-9]\d{0,8})")
"""`<platform>#<n>`"""


class DirectoryError(ValueError):
    """The directory cannot be used; the text says what to mend."""


@dataclass(frozen=True, slots=True)
class Peer:
    """One platform. `keys`: raw Ed25519 public keys (32 bytes) by their number; the highest is the newest."""

    code: str
    level: int = 2
    parent: str | None = None
    base_url: str = ""
    keys: Mapping[int, bytes] = field(default_factory=dict)

    @property
    def authority(self) -> str:
        """`@authority` of requests to it (RFC 9421, 2.2.3): host in lower case, the port unless it is the default."""
        address = urlsplit(self.base_url)
        default = {"http": 80, "https": 443}.get(address.scheme)
        host = (address.hostname or "").lower()
        host = f"[{host}]" if ":" in host else host
        return host if address.port in (None, default) else f"{host}:{address.port}"


@dataclass(frozen=True, slots=True)
class Pact:
    """Platforms that hand cases over directly, until the date `until` (included; None: no end)."""

    platforms: frozenset[str]
    until: date | None = None

    def covers(self, one: str, other: str, on: date) -> bool:
        return {one, other} <= self.platforms and (self.until is None or on <= self.until)


@dataclass(frozen=True, slots=True)
class Directory:
    """All platforms by code, and the agreements between them."""

    peers: Mapping[str, Peer] = field(default_factory=dict)
    pacts: tuple[Pact, ...] = ()

    def key(self, keyid: str) -> tuple[str, bytes] | None:
        """Platform and raw public key of a keyid; None for one that is not listed."""
        match = KEYID.fullmatch(keyid)
        peer = self.peers.get(match[1]) if match else None
        raw = peer.keys.get(int(match[2])) if match and peer else None
        return (peer.code, raw) if peer and raw else None

    def parent(self, code: str) -> str | None:
        """The platform above: as listed, else the nearest one by code (GB/T 2260: city, then province)."""
        peer = self.peers.get(code)
        if peer is not None and peer.parent in self.peers:
            return peer.parent
        above = (code[:4] + "00", code[:2] + "0000")
        return next((one for one in above if one != code and one in self.peers), None)

    def above(self, code: str) -> tuple[str, ...]:
        """The platforms above one, the nearest first."""
        found: list[str] = []
        while (code := self.parent(code) or "") and code not in found:
            found.append(code)
        return tuple(found)

    def objection(self, path: tuple[str, ...] | list[str], on: date) -> str | None:
        """What stands against a hand-over along `path` on the day `on`; None when it may go: direct under an agreement,
        else up and down the tree (domain.md, Dispatch 6)."""
        if len(path) < 2 or not all(code in self.peers for code in path):
            return "The path names a platform that is not in the directory."
        if len(set(path)) != len(path):
            return "The path comes by the same platform twice."
        if len(path) == 2 and any(pact.covers(path[0], path[1], on) for pact in self.pacts):
            return None
        hops = list(pairwise(path))
        steps = ["up" if self.parent(a) == b else "down" if self.parent(b) == a else "" for a, b in hops]
        if "" in steps or steps != sorted(steps, reverse=True):
            return "The path is neither covered by an agreement that holds today nor the way through the tree."
        return None


def parse(content: Any) -> Directory:
    """The directory of parsed YAML. Raises DirectoryError naming the entry."""
    if not isinstance(content, Mapping) or not isinstance(content.get("platforms"), list):
        raise DirectoryError("needs a list `platforms`")
    peers: dict[str, Peer] = {}
    for entry in content["platforms"]:
        peer = _peer(entry)
        if peer.code in peers:
            raise DirectoryError(f"platform {peer.code} is listed twice")
        peers[peer.code] = peer
    directory = Directory(peers, tuple(_pact(entry) for entry in content.get("agreements") or []))
    for code in peers:
        if code in directory.above(code):
            raise DirectoryError(f"platform {code} is its own ancestor: mend `parent`")
    return directory


def load(path: str | Path) -> Directory:
    """The directory of a file. Raises DirectoryError."""
    try:
        return parse(yaml.safe_load(Path(path).read_text(encoding="utf-8")))
    except (OSError, yaml.YAMLError, UnicodeError, DirectoryError) as error:
        raise DirectoryError(f"SUSHU_PLATFORMS, {Path(path).name}: {error}") from error


class DirectoryFile:
    """The directory as it is in its file, read again when the file changed; a file that cannot be used leaves the last
    good one in force. `current` is None until a good one was read."""

    def __init__(self, path: str) -> None:
        self.path = path
        self.current: Directory | None = None
        self.trouble: str | None = None
        """what is wrong with the file as it is now"""
        self._seen: object = None

    def look(self) -> bool:
        """Whether there is another directory than at the last look."""
        mark = stamp(self.path)
        if not self.path or mark == self._seen:
            return False
        self._seen = mark
        try:
            found = load(self.path)
        except DirectoryError as error:
            self.trouble = str(error)
            log.error("the platform directory cannot be used, the last good one stays", extra={"why": self.trouble})
            return False
        self.trouble = None
        changed = found != self.current
        if changed and self.current is not None:
            log.info("the platform directory was read again", extra={"platforms": len(found.peers)})
        self.current = found
        return changed


def stamp(path: str | Path) -> object:
    """What tells one content of a file from the next, without reading it."""
    try:
        found = os.stat(path)
    except OSError:
        return None
    return (found.st_mtime_ns, found.st_size, found.st_ino)


def _peer(entry: Any) -> Peer:
    if not isinstance(entry, Mapping) or not _CODE.fullmatch(code := str(entry.get("code", ""))):
        raise DirectoryError("every platform needs a `code` of six digits, in quotes")
    parent, base_url, level = entry.get("parent"), str(entry.get("base_url") or ""), entry.get("level", 2)
    if not isinstance(level, int) or (parent is not None and not _CODE.fullmatch(str(parent))):
        raise DirectoryError(f"platform {code}: `level` is a number, `parent` a code of six digits")
    try:
        address = urlsplit(base_url)
        sound = address.scheme in ("http", "https") and address.hostname and (address.port or 1)
    except ValueError:
        sound = False
    if base_url and (not sound or address.query or address.fragment or address.username):
        raise DirectoryError(f"platform {code}: `base_url` is http(s)://host[:port][/path], nothing more")
    keys = entry.get("keys") or {}
    if not isinstance(keys, Mapping):
        raise DirectoryError(f'platform {code}: `keys` is a table {{"1": "<base64>"}}')
    listed = {}
    for number, text in keys.items():
        try:
            raw = base64.b64decode(str(text), validate=True)
        except ValueError:
            raw = b""
        if len(raw) != 32 or not KEYID.fullmatch(f"{code}#{number}"):
            raise DirectoryError(f"platform {code}: key {number} is no Ed25519 public key in base64 under a number")
        listed[int(number)] = raw
    return Peer(code, level, str(parent) if parent else None, base_url.rstrip("/"), listed)


def _pact(entry: Any) -> Pact:
    if not isinstance(entry, Mapping) or not isinstance(entry.get("platforms"), list):
        raise DirectoryError("every agreement needs a list `platforms`")
    until = entry.get("until")
    try:
        if isinstance(until, str):
            until = date.fromisoformat(until)
    except ValueError as error:
        raise DirectoryError(f"an agreement's `until` is a date: {error}") from error
    if isinstance(until, datetime) or not (until is None or isinstance(until, date)):
        raise DirectoryError("an agreement's `until` is a date such as 2030-12-31")
    return Pact(frozenset(str(code) for code in entry["platforms"]), until)
