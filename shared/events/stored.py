"""The headers of a record as they stand in tables."""

from base64 import b64decode, b64encode

import orjson

from shared.events.event import Headers

_RAW = "base64:"


def headers_json(headers: Headers) -> str:
    """Headers as a JSON list of [name, text]; bytes that are no text survive in base64."""
    return orjson.dumps([[_text(name.encode()), _text(value)] for name, value in headers]).decode()


def headers_from(stored: str | list[list[str]]) -> Headers:
    """The inverse of `headers_json`."""
    pairs = orjson.loads(stored) if isinstance(stored, str) else stored
    return tuple((_bytes(name).decode(), _bytes(value)) for name, value in pairs)


def _text(value: bytes) -> str:
    try:
        text = value.decode()
    except UnicodeDecodeError:
        text = ""
    if "\x00" in text or text.startswith(_RAW) or (value and not text):
        return _RAW + b64encode(value).decode()
    return text


def _bytes(value: str) -> bytes:
    if value.startswith(_RAW):
        return b64decode(value[len(_RAW) :])
    return value.encode()
