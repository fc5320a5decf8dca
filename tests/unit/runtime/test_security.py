"""Tokens and row scope."""

import time
from pathlib import Path

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from shared.errors import Problem
from shared.security.principal import Principal, within
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
    refused(tokens, f"{head}.{body}.{signature[:-2]}AA")
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
    ],
)
def test_region_scope_holds_everything_below(code: str, root: str, inside: bool) -> None:
    assert within(code, root) is inside


def test_handler_without_units_sees_no_unit() -> None:
    assert not Principal("x", frozenset({"handler"})).sees_unit("u1")
    assert Principal("x", frozenset({"seat"})).sees_unit("u1")
    assert not Principal("x", frozenset({"handler"}), units=frozenset({"u2"})).sees_unit("u1", None)
