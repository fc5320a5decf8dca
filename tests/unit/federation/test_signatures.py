"""Requests between platforms: our signatures and those of another implementation of RFC 9421 are believed by both."""

import time
from datetime import datetime
from types import SimpleNamespace
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from http_message_signatures import HTTPMessageSigner, HTTPMessageVerifier, HTTPSignatureKeyResolver, algorithms
from nacl.signing import SigningKey
from requests.structures import CaseInsensitiveDict

from shared.federation.signatures import SignatureError, Signed, content_digest, sign, verify

SEED = bytes(range(32))
KEY = SigningKey(SEED)
KEYID = "460100#1"
HOST, PATH = "sanya.example:8443", "/v1/handoffs"
BODY = '{"handoff_id":"01990000-0000-7000-8000-000000000001","text":"路灯不亮"}'.encode()
NOW = 1_780_000_000
NONCE = "c29tZS1ub25jZS0x"
COVERED = ("@method", "@authority", "@path", "content-digest", "content-type")


def key_of(keyid: str) -> tuple[str, bytes] | None:
    return ("460100", bytes(KEY.verify_key)) if keyid == KEYID else None


def signed(**more: Any) -> dict[str, str]:
    given: dict[str, Any] = {"keyid": KEYID, "key": KEY, "created": NOW, "nonce": NONCE} | more
    return sign("POST", HOST, PATH, BODY, **given)


def believed(headers: dict[str, str], **more: Any) -> Signed:
    given = {"method": "POST", "authority": HOST, "path": PATH, "body": BODY, "now": NOW + 10.0} | more
    raw = [(name.lower().encode(), value.encode()) for name, value in headers.items()]
    return verify(**given, headers=raw, key_of=key_of)  # type: ignore[arg-type]


def refusal(headers: dict[str, str], **more: Any) -> str:
    with pytest.raises(SignatureError) as caught:
        believed(headers, **more)
    return caught.value.code


def test_what_was_signed_is_believed() -> None:
    assert believed(signed()) == Signed("460100", KEYID, NONCE, NOW)


@pytest.mark.parametrize(
    ("more", "code"),
    [
        ({"body": BODY + b" "}, "digest_mismatch"),
        ({"method": "PUT"}, "signature_wrong"),
        ({"authority": "haikou.example"}, "signature_wrong"),
        ({"path": "/v1/handoffs/1/receipts"}, "signature_wrong"),
        ({"now": NOW + 301.0}, "signature_stale"),
        ({"now": NOW - 61.0}, "signature_stale"),
    ],
)
def test_a_request_that_was_changed_or_kept_is_not(more: dict[str, Any], code: str) -> None:
    assert refusal(signed(), **more) == code


def test_a_digest_that_fits_a_changed_body_does_not_help() -> None:
    other = BODY.replace("路灯".encode(), "桥梁".encode())
    assert refusal(signed() | {"Content-Digest": content_digest(other)}, body=other) == "signature_wrong"


def test_a_query_is_signed_or_the_request_is_not_believed() -> None:
    headers = signed(query="after=7&types=a%2Cb")
    assert believed(headers, query="after=7&types=a%2Cb").platform == "460100"
    assert refusal(headers, query="after=8&types=a%2Cb") == "signature_wrong"
    assert refusal(headers) == "signature_missing"
    assert refusal(signed(), query="after=7") == "signature_missing"


def test_another_key_is_not_believed() -> None:
    assert refusal(signed(key=SigningKey(bytes(32)))) == "signature_wrong"
    assert refusal(signed(keyid="460100#2")) == "unknown_key"
    assert refusal(signed(keyid="460200#1")) == "unknown_key"


@pytest.mark.parametrize(
    ("field", "old", "new", "code"),
    [
        ("Signature-Input", '"@path" ', "", "signature_missing"),
        ("Signature-Input", "sushu=", "other=", "signature_missing"),
        ("Signature-Input", f';nonce="{NONCE}"', "", "signature_parameters"),
        ("Signature-Input", f";created={NOW}", "", "signature_parameters"),
        ("Signature-Input", 'alg="ed25519"', 'alg="hmac-sha256"', "signature_parameters"),
        ("Signature-Input", ";keyid", f";created={NOW};keyid", "signature_parameters"),
        ("Signature-Input", ";keyid", ';expires="x";keyid', "signature_parameters"),
        ("Signature-Input", NONCE, "短", "signature_missing"),
        ("Signature-Input", NONCE, "short", "signature_parameters"),
        ("Signature", "sushu=:", "sushu=:A", "signature_missing"),
        ("Content-Digest", "sha-256=", "sha-512=", "digest_mismatch"),
        ("Content-Type", "application/json", "text/plain", "signature_wrong"),
    ],
)
def test_another_form_is_refused_with_its_code(field: str, old: str, new: str, code: str) -> None:
    headers = signed()
    assert old in headers[field]
    assert refusal(headers | {field: headers[field].replace(old, new)}) == code


def test_a_second_signature_beside_ours_harms_nothing() -> None:
    headers = signed()
    headers["Signature-Input"] = 'proxy=("@method");created=1, ' + headers["Signature-Input"]
    headers["Signature"] = "proxy=:AAAA:, " + headers["Signature"]
    assert believed(headers).platform == "460100"
    headers["Signature-Input"] += ", " + signed()["Signature-Input"]
    assert refusal(headers) == "signature_missing"


class _Keys(HTTPSignatureKeyResolver):
    def resolve_private_key(self, key_id: str) -> Ed25519PrivateKey:
        return Ed25519PrivateKey.from_private_bytes(SEED)

    def resolve_public_key(self, key_id: str) -> Ed25519PublicKey:
        assert key_id == KEYID
        return Ed25519PublicKey.from_public_bytes(bytes(KEY.verify_key))


def request(headers: dict[str, str], query: str = "") -> Any:
    return SimpleNamespace(
        method="POST",
        url=f"https://{HOST}{PATH}{query and '?'}{query}",
        headers=CaseInsensitiveDict(headers),
        body=BODY,
        content=BODY,
    )


@pytest.mark.parametrize("query", ["", "after=7&types=a%2Cb"])
def test_another_implementation_believes_ours(query: str) -> None:
    message = request(signed(created=int(time.time()), query=query), query)
    verifier = HTTPMessageVerifier(signature_algorithm=algorithms.ED25519, key_resolver=_Keys())
    (found,) = verifier.verify(message, body=BODY)
    assert (found.label, found.parameters["keyid"]) == ("sushu", KEYID)
    assert set(found.covered_components) >= {f'"{name}"' for name in (*COVERED, *(["@query"] if query else []))}


def test_we_believe_another_implementation() -> None:
    message = request({"Content-Type": "application/json", "Content-Digest": content_digest(BODY)})
    HTTPMessageSigner(signature_algorithm=algorithms.ED25519, key_resolver=_Keys()).sign(
        message,
        key_id=KEYID,
        label="sushu",
        nonce=NONCE,
        covered_component_ids=COVERED,
        created=datetime.fromtimestamp(NOW).astimezone(),
        use_existing_digest=True,
    )
    assert believed(dict(message.headers)) == Signed("460100", KEYID, NONCE, NOW)
