"""What a file is, told by its content: neither its name nor what the sender calls it counts."""

from __future__ import annotations

from typing import Final

import puremagic

HEAD: Final = 4_096
"""bytes that are looked at"""

_KINDS: Final = {
    "image/jpeg": (".jpg", ".jpeg", ".jpe", ".jfif"),
    "image/png": (".png",),
    "image/webp": (".webp",),
    "image/heic": (".heic", ".heif"),
    "application/pdf": (".pdf",),
    "video/mp4": (".mp4",),
    "video/quicktime": (".mov",),
    "video/3gpp": (".3gp", ".3ga"),
    # puremagic calls some heads of ID3, which begin most MP3 files, by the name of another format with ID3
    "audio/mpeg": (".mp3", ".mpga", ".koz"),
    "audio/mp4": (".m4a",),
    "audio/amr": (".amr",),
    "audio/wav": (".wav",),
}
ACCEPTED: Final = tuple(_KINDS)
"""media types: photos, videos, recordings and PDF; nothing that a browser runs or a program unpacks"""
_KIND_OF: Final = {suffix: kind for kind, suffixes in _KINDS.items() for suffix in suffixes}


def kind_of(head: bytes) -> str | None:
    """The media type of a file that begins with `head`, None when it is none of `ACCEPTED`."""
    try:
        likely = puremagic.magic_string(head)
    except (puremagic.PureError, ValueError):
        return None
    return _KIND_OF.get(likely[0].extension) if likely else None


def plain_name(name: str | None, kind: str) -> str:
    """A name that is safe to save under: no folders, no control characters, the suffix of its kind."""
    last = (name or "").replace("\\", "/").rpartition("/")[2]
    stem = "".join(one for one in last if one.isprintable() and one not in '<>:"|?*').strip(". ")
    suffixes = _KINDS[kind]
    if not stem.lower().endswith(suffixes):
        stem = stem.partition(".")[0] or "附件"
        return stem[:100] + suffixes[0]
    return stem if len(stem) <= 120 else stem[:100] + suffixes[0]
