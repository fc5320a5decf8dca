"""The worked example of docs/federation.md, byte by byte."""

import base64
import json
import re
from pathlib import Path

import yaml
from nacl.signing import SigningKey

from services.intake.federation.bodies import OfferBody, appeal_body
from shared.federation.directory import parse
from shared.federation.keys import PlatformKeys
from shared.federation.signatures import COMPONENTS, content_digest, sign, signature_base, verify

ROOT = Path(__file__).parents[3]
EXAMPLE = (ROOT / "docs" / "federation.md").read_text(encoding="utf-8").partition("## One worked example")[2]
HAIKOU, SANYA = bytes(range(32)), bytes(range(32, 64))


def blocks(kind: str) -> list[str]:
    return re.findall(rf"```{kind}\n(.*?)\n```", EXAMPLE, re.DOTALL)


def test_the_example_holds_to_the_byte() -> None:
    directory = parse(yaml.safe_load(blocks("yaml")[0]))
    body, secret = (text.encode() for text in blocks("json"))
    (base,), (request,) = blocks("text"), blocks("http")
    first, *lines = request.split("\n")
    headers = dict(line.split(": ", 1) for line in lines)
    method, path, _ = first.split(" ")
    assert directory.peers["460100"].keys[1] == bytes(SigningKey(HAIKOU).verify_key)
    assert directory.peers["460200"].keys[1] == bytes(SigningKey(SANYA).verify_key)
    assert headers["Content-Digest"] == content_digest(body)
    parameters = headers["Signature-Input"].removeprefix("sushu=")
    assert parameters.startswith(COMPONENTS)
    host = headers["Host"]
    assert directory.peers["460200"].authority == host
    assert (
        signature_base(method, host, path, headers["Content-Digest"], "application/json", parameters) == base.encode()
    )
    created = int(re.findall(r"created=(\d+)", parameters)[0])
    nonce = re.findall(r'nonce="([^"]+)"', parameters)[0]
    made = sign(method, host, path, body, keyid="460100#1", key=SigningKey(HAIKOU), created=created, nonce=nonce)
    assert headers == made | {"Host": host}
    raw = [(name.lower().encode(), value.encode()) for name, value in headers.items()]
    assert verify(method, host, path, raw, body, key_of=directory.key, now=created + 1.0).platform == "460100"

    offer = OfferBody.model_validate_json(body)
    assert offer.contact is not None
    assert PlatformKeys("460200", {1: SANYA}).open(base64.b64decode(offer.contact)) == secret
    opened = json.loads(secret)
    assert opened["handoff_id"] == offer.handoff_id
    reporter = appeal_body(offer, opened).reporter
    assert reporter is not None
    assert reporter.phone == opened["phone"]
    assert opened["phone"] not in offer.case.text
