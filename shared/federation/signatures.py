"""Signed requests between platforms: RFC 9421 in the one form of api.md, with RFC 9530 Content-Digest.

Label `sushu`; components `"@method" "@authority" "@path" "content-digest" "content-type"` in this order, with
`"@query"` behind the path where a request has a query; parameters created, nonce, keyid and alg="ed25519", in any
order. Only the form is written out here: Ed25519 is libsodium's.
"""

import base64
import hashlib
import re
import secrets
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from nacl.exceptions import CryptoError
from nacl.signing import SigningKey, VerifyKey

LABEL = "sushu"
COMPONENTS = '("@method" "@authority" "@path" "content-digest" "content-type")'
WITH_QUERY = COMPONENTS.replace('"@path"', '"@path" "@query"')
OLDEST_S = 300
"""created at most so long ago (api.md)"""
AHEAD_S = 60
"""created at most so far ahead: clocks differ a little"""
CONTENT_TYPE = "application/json"

_STRING = r'"[\x20\x21\x23-\x5b\x5d-\x7e]*"'
_INPUTS = {
    components: re.compile(
        rf"(?:^|,)[ \t]*{LABEL}=({re.escape(components)}((?:;[a-z]+=(?:{_STRING}|\d{{1,15}}))+))[ \t]*(?=,|$)"
    )
    for components in (COMPONENTS, WITH_QUERY)
}
_PARAMETER = re.compile(rf";([a-z]+)=({_STRING}|\d{{1,15}})")
_SIGNATURE = re.compile(rf"(?:^|,)[ \t]*{LABEL}=:([A-Za-z0-9+/]{{86}}==):[ \t]*(?=,|$)")
_DIGEST = re.compile(r"(?:^|,)[ \t]*sha-256=:([A-Za-z0-9+/]{43}=):[ \t]*(?=,|$)")
_NONCE = re.compile(r"[!#-\[\]-~]{8,128}")


class SignatureError(Exception):
    """Why a request is not believed. `code` is a stable word, `keyid` what it claims (unproved), "" without."""

    def __init__(self, code: str, detail: str, keyid: str = "") -> None:
        super().__init__(detail)
        self.code = code
        self.detail = detail
        self.keyid = keyid


@dataclass(frozen=True, slots=True)
class Signed:
    """A request that is believed to come from `platform`, if its nonce is new."""

    platform: str
    keyid: str
    nonce: str
    created: int
    """seconds since 1970"""


def content_digest(body: bytes) -> str:
    """The Content-Digest field of these bytes."""
    return f"sha-256=:{base64.b64encode(hashlib.sha256(body).digest()).decode()}:"


def signature_base(
    method: str, authority: str, path: str, digest: str, content_type: str, parameters: str, query: str = ""
) -> bytes:
    """What is signed (RFC 9421, 2.5); `parameters` is the whole value of `@signature-params`, `query` has no `?`."""
    lines = (
        f'"@method": {method}',
        f'"@authority": {authority}',
        f'"@path": {path}',
        *([f'"@query": ?{query}'] if query else []),
        f'"content-digest": {digest}',
        f'"content-type": {content_type}',
        f'"@signature-params": {parameters}',
    )
    return "\n".join(lines).encode()


def sign(
    method: str,
    authority: str,
    path: str,
    body: bytes,
    *,
    keyid: str,
    key: SigningKey,
    created: int,
    nonce: str | None = None,
    query: str = "",
) -> dict[str, str]:
    """The header fields of a signed request; `nonce` is random unless given."""
    nonce = nonce or secrets.token_urlsafe(18)
    digest = content_digest(body)
    components = WITH_QUERY if query else COMPONENTS
    parameters = f'{components};created={created};nonce="{nonce}";keyid="{keyid}";alg="ed25519"'
    signature = key.sign(signature_base(method, authority, path, digest, CONTENT_TYPE, parameters, query)).signature
    return {
        "Content-Type": CONTENT_TYPE,
        "Content-Digest": digest,
        "Signature-Input": f"{LABEL}={parameters}",
        "Signature": f"{LABEL}=:{base64.b64encode(signature).decode()}:",
    }


def verify(
    method: str,
    authority: str,
    path: str,
    headers: Iterable[tuple[bytes, bytes]],
    body: bytes,
    *,
    key_of: Callable[[str], tuple[str, bytes] | None],
    now: float,
    query: str = "",
) -> Signed:
    """Whose request this is. Raises SignatureError; whether the nonce is new is left to the caller.

    `headers` as ASGI gives them, `key_of`: platform and raw public key of a keyid, `now`: real seconds since 1970.
    """
    fields = _fields(headers)
    found = _INPUTS[WITH_QUERY if query else COMPONENTS].findall(fields.get("signature-input", ""))
    proofs = _SIGNATURE.findall(fields.get("signature", ""))
    if len(found) != 1 or len(proofs) != 1:
        raise SignatureError("signature_missing", "Sign the request as api.md, Between platforms, says (label sushu).")
    parameters, listed = found[0]
    pairs = _PARAMETER.findall(listed)
    values = {name: text.strip('"') for name, text in pairs}
    keyid, nonce, created = values.get("keyid", ""), values.get("nonce", ""), values.get("created", "")
    expires = values.get("expires", created)
    if len(values) != len(pairs) or values.get("alg") != "ed25519" or not (created.isdigit() and expires.isdigit()):
        detail = 'Give created, nonce, keyid and alg="ed25519", each once.'
        raise SignatureError("signature_parameters", detail, keyid)
    if not _NONCE.fullmatch(nonce):
        raise SignatureError("signature_parameters", "The nonce has 8 to 128 printable characters.", keyid)
    known = key_of(keyid)
    if known is None:
        raise SignatureError("unknown_key", "No platform of the directory has this keyid.", keyid)
    if not now - OLDEST_S <= int(created) <= now + AHEAD_S or int(expires) < now - OLDEST_S:
        detail = f"`created` may be {OLDEST_S} s old; sign it anew, or set the clock."
        raise SignatureError("signature_stale", detail, keyid)
    digest, content_type = fields.get("content-digest", ""), fields.get("content-type", "")
    told = _DIGEST.findall(digest)
    if len(told) != 1 or base64.b64decode(told[0]) != hashlib.sha256(body).digest():
        raise SignatureError("digest_mismatch", "Content-Digest is not the sha-256 of the body's bytes.", keyid)
    base = signature_base(method, authority, path, digest, content_type, parameters, query)
    try:
        VerifyKey(known[1]).verify(base, base64.b64decode(proofs[0]))
    except (CryptoError, ValueError, TypeError):
        raise SignatureError("signature_wrong", "The signature does not fit this request.", keyid) from None
    return Signed(known[0], keyid, nonce, int(created))


def _fields(headers: Iterable[tuple[bytes, bytes]]) -> dict[str, str]:
    """The fields that are looked at, each as one value (RFC 9421, 2.1)."""
    wanted = {"signature-input", "signature", "content-digest", "content-type"}
    found: dict[str, list[str]] = {}
    for name, value in headers:
        field = name.decode("latin-1").lower()
        if field in wanted:
            found.setdefault(field, []).append(value.decode("latin-1").strip())
    return {name: ", ".join(values) for name, values in found.items()}
