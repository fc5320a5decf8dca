"""Tokens and row scope."""

import asyncio
import base64
import hmac
import json
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from shared.errors import Problem
from shared.security import tokens as tokens_module
from shared.security.principal import Principal
from shared.security.scope import within
from shared.security.tokens import Tokens
from shared.settings import Settings


@pytest.fixture
def tokens(tmp_path: Path) -> Tokens:
    return Tokens(Settings(data_dir=tmp_path, admin_token="opaque-admin"))


def refused(tokens: Tokens, token: str) -> Problem:
    with pytest.raises(Problem) as caught:
        tokens.check(token)
    assert caught.value.status == 401
    return caught.value


def test_issued_token_opens_what_it_says(tokens: Tokens) -> None:
    token, _ = tokens.issue("li", ["handler"], units=["u1"], regions=["460106"], platform="460100")
    who = tokens.check(token)
    assert who.roles == {"handler"}
    assert who.actor == "unit:u1"
    assert (set(who.units), set(who.regions), who.platform) == ({"u1"}, {"460106"}, "460100")


def test_admin_token_is_compared_whole(tokens: Tokens) -> None:
    assert tokens.check("opaque-admin").has("seat", "leader")
    refused(tokens, "opaque-admi")
    refused(tokens, "")


def test_without_any_admin_token_the_empty_one_opens_nothing(tmp_path: Path) -> None:
    refused(Tokens(Settings(data_dir=tmp_path)), "")


def test_forged_unsigned_expired_and_foreign_tokens_are_refused(tokens: Tokens, tmp_path: Path) -> None:
    good, _ = tokens.issue("li", ["admin"])
    head, body, signature = good.split(".")
    refused(tokens, f"{head}.{body}.{signature[:-4]}{'AAAA' if signature[-4:-2] != 'AA' else 'BBBA'}")
    refused(tokens, jwt.encode({"sub": "x", "exp": time.time() + 60, "roles": ["admin"]}, "", algorithm="none"))
    refused(tokens, jwt.encode({"sub": "x", "exp": time.time() + 60, "roles": ["admin"]}, "k" * 32, algorithm="HS256"))
    stranger = Ed25519PrivateKey.generate()
    claims = {"iss": "sushu:460100", "sub": "x", "exp": time.time() + 60, "roles": ["admin"]}
    refused(tokens, jwt.encode(claims, stranger, algorithm="EdDSA"))
    expired, _ = tokens.issue("li", ["seat"], ttl_s=-5)
    assert "expired" in refused(tokens, expired).detail
    other = Tokens(Settings(data_dir=tmp_path, platform="460200"))  # same key folder, another platform
    refused(tokens, other.issue("li", ["admin"])[0])


def test_unknown_roles_in_a_token_open_nothing(tokens: Tokens) -> None:
    who = tokens.check(tokens.issue("li", ["root", "superuser"])[0])
    with pytest.raises(Problem) as caught:
        who.require("seat")
    assert caught.value.status == 403


def test_production_makes_no_tokens_and_needs_an_issuer(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="JWKS"):
        Settings(env="production", data_dir=tmp_path)
    with pytest.raises(ValueError, match="SIM_CLOCK"):
        Settings(env="production", sim_clock=True, jwks_url="https://id.example/jwks", jwt_issuer="https://id.example")
    strict = Settings(env="production", data_dir=tmp_path, jwks_url="https://id.example/jwks", jwt_issuer="i")
    with pytest.raises(Problem):
        Tokens(strict).issue("li", ["admin"])


@pytest.mark.parametrize(
    ("code", "root", "inside"),
    [
        ("460106003", "460106", True),
        ("460106", "460100", True),
        ("460106", "460000", True),
        ("460200", "460100", False),
        ("110101", "460000", False),
        ("460107", "460106", False),
        ("460106003", "460106003", True),
        ("460200", "460106000000", False),
        ("460106003", "460106000000", False),
        ("460106000000", "460106", True),
    ],
)
def test_region_scope_holds_everything_below(code: str, root: str, inside: bool) -> None:
    assert within(code, root) is inside


def test_handler_without_units_sees_no_unit() -> None:
    assert not Principal("x", frozenset({"handler"})).sees_unit("u1")
    assert Principal("x", frozenset({"seat"})).sees_unit("u1")
    assert not Principal("x", frozenset({"handler"}), units=frozenset({"u2"})).sees_unit("u1", None)


class Issuer:
    """An outside issuer with an Ed25519 and an RSA key; `away` makes it answer nonsense."""

    def __init__(self) -> None:
        self.asked = 0
        self.away = False
        self.slow = 0.0
        self.ed = Ed25519PrivateKey.generate()
        self.rsa = rsa.generate_private_key(public_exponent=65537, key_size=2048)
        keys = [
            jwt.algorithms.OKPAlgorithm.to_jwk(self.ed.public_key(), as_dict=True) | {"kid": "ed", "use": "sig"},
            jwt.algorithms.RSAAlgorithm.to_jwk(self.rsa.public_key(), as_dict=True)
            | {"kid": "rsa", "use": "sig", "alg": "RS256"},
        ]
        body = json.dumps({"keys": keys}).encode()
        issuer = self

        class Answer(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                issuer.asked += 1
                time.sleep(issuer.slow)
                self.send_response(503 if issuer.away else 200)
                self.end_headers()
                self.wfile.write(b"<html>" if issuer.away else body)

            def log_message(self, *_: Any) -> None:
                pass

        self.server = HTTPServer(("127.0.0.1", 0), Answer)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def tokens(self, folder: Path) -> Tokens:
        port = self.server.server_address[1]
        url = f"http://127.0.0.1:{port}/jwks"
        return Tokens(Settings(env="production", data_dir=folder, jwks_url=url, jwt_issuer="https://id.example"))

    def token(self, kid: str = "ed", **claims: Any) -> str:
        whole = {"iss": "https://id.example", "aud": "sushu", "sub": "li", "exp": time.time() + 60, "roles": ["seat"]}
        key, algorithm = (self.rsa, "RS256") if kid == "rsa" else (self.ed, "EdDSA")
        return jwt.encode(whole | claims, key, algorithm=algorithm, headers={"kid": kid})


@pytest.fixture
def issuer() -> Iterator[Issuer]:
    found = Issuer()
    yield found
    found.server.shutdown()
    found.server.server_close()


def test_tokens_of_the_outside_issuer_open_what_they_say(issuer: Issuer, tmp_path: Path) -> None:
    tokens = issuer.tokens(tmp_path)
    assert tokens.check(issuer.token("ed")).roles == {"seat"}
    assert tokens.check(issuer.token("rsa")).roles == {"seat"}
    for wrong in ({"aud": "other"}, {"iss": "https://evil.example"}, {"exp": time.time() - 5}):
        refused(tokens, issuer.token(**wrong))


def test_a_token_that_names_another_algorithm_than_its_key_is_refused(issuer: Issuer, tmp_path: Path) -> None:
    tokens = issuer.tokens(tmp_path)
    claims = {"iss": "https://id.example", "aud": "sushu", "sub": "x", "exp": time.time() + 60, "roles": ["admin"]}
    public = issuer.rsa.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    refused(tokens, jwt.encode(claims, issuer.rsa, algorithm="RS256", headers={"kid": "ed"}))
    refused(tokens, jwt.encode(claims, issuer.ed, algorithm="EdDSA", headers={"kid": "rsa"}))
    signed = ".".join(
        base64.urlsafe_b64encode(json.dumps(part).encode()).decode().rstrip("=")
        for part in ({"alg": "HS256", "typ": "JWT", "kid": "rsa"}, claims)
    )
    mac = base64.urlsafe_b64encode(hmac.digest(public, signed.encode(), "sha256")).decode().rstrip("=")
    refused(tokens, f"{signed}.{mac}")  # the public key as if it were a shared secret
    refused(tokens, jwt.encode(claims, "", algorithm="none", headers={"kid": "rsa"}))


def test_a_nested_header_is_refused_not_an_accident(tokens: Tokens) -> None:
    head = base64.urlsafe_b64encode(b'{"alg":' + b"[" * 100_000).decode().rstrip("=")
    refused(tokens, f"{head}.e30.AAAA")


async def test_the_loop_goes_on_while_the_issuer_thinks(issuer: Issuer, tmp_path: Path) -> None:
    tokens = issuer.tokens(tmp_path)
    issuer.slow = 1.5
    asking = asyncio.create_task(tokens.principal(issuer.token()))
    started = time.monotonic()
    await asyncio.sleep(0.05)
    assert time.monotonic() - started < 1.0
    assert (await asking).sub == "li"
    assert (await tokens.principal(issuer.token("rsa"))).sub == "li"
    assert issuer.asked == 1


def test_an_issuer_that_is_away_is_a_503_and_its_last_keys_hold(
    issuer: Issuer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tokens = issuer.tokens(tmp_path)
    issuer.away = True
    for _ in range(20):
        with pytest.raises(Problem) as caught:
            tokens.check(issuer.token())
        assert caught.value.status == 503
    assert issuer.asked == 1  # not asked for every caller
    issuer.away = False
    monkeypatch.setattr(tokens_module, "ASK_AGAIN_S", 0.0)
    monkeypatch.setattr(tokens._issuer, "_next", 0.0)
    assert tokens.check(issuer.token()).sub == "li"
    issuer.away = True
    assert tokens._issuer is not None
    monkeypatch.setattr(tokens._issuer, "jwk_set_cache", None)  # as if it had run out
    assert tokens.check(issuer.token()).sub == "li"


def test_unknown_key_ids_do_not_make_us_ask_the_issuer_again_and_again(issuer: Issuer, tmp_path: Path) -> None:
    tokens = issuer.tokens(tmp_path)
    for number in range(20):
        refused(tokens, issuer.token(f"made-up-{number}"))
    assert issuer.asked <= 2


def test_a_token_that_was_checked_is_known_until_it_expires(tokens: Tokens, monkeypatch: pytest.MonkeyPatch) -> None:
    token, expires = tokens.issue("li", ["seat"])
    assert tokens.known(token) is None
    who = tokens.check(token)
    assert tokens.known(token) == who
    monkeypatch.setattr(time, "time", lambda: expires.timestamp() + 1)
    assert tokens.known(token) is None


def test_a_known_token_is_checked_again_after_a_minute(tokens: Tokens, monkeypatch: pytest.MonkeyPatch) -> None:
    token, _ = tokens.issue("li", ["seat"])
    tokens.check(token)
    later = time.monotonic() + tokens_module.KNOWN_S + 1
    monkeypatch.setattr(time, "monotonic", lambda: later)
    assert tokens.known(token) is None


def test_a_refused_token_is_not_known(tokens: Tokens) -> None:
    refused(tokens, "nonsense")
    assert tokens.known("nonsense") is None
    assert tokens.known("opaque-admin") is None
