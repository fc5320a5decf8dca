"""Bearer tokens: an opaque admin token, EdDSA JWTs of the local stack, or the JWKS of an outside issuer."""

import asyncio
import hmac
import logging
import threading
import time
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import jwt
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from shared.errors import Problem
from shared.security.key_files import write_once
from shared.security.principal import ROLES, Principal
from shared.settings import Settings

log = logging.getLogger(__name__)

SIGNING_KEY = "token.ed25519"
LONGEST_TTL_S = 30 * 86400
ASK_AGAIN_S = 5.0
KNOWN_S = 60.0
"""how long a token that was checked is not checked again: so long a key that the issuer has withdrawn still holds"""
KNOWN = 10_000
"""tokens that are remembered"""
_ALGORITHMS = ["EdDSA", "RS256", "ES256"]


def unauthorized(detail: str) -> Problem:
    """401 with the challenge that says how to come in."""
    return Problem(401, "unauthorized", detail, headers={"WWW-Authenticate": 'Bearer realm="sushu"'})


class _Issuer(jwt.PyJWKClient):
    """The key set of the outside issuer. It is asked at most once in `ASK_AGAIN_S`, whoever calls with whatever key
    id; while it is away its last keys hold."""

    def __init__(self, url: str) -> None:
        super().__init__(url, lifespan=300, timeout=5)
        self._known: Any = None
        self._next = 0.0

    def fetch_data(self) -> Any:
        try:
            if time.monotonic() < self._next:
                raise jwt.PyJWKClientConnectionError("the issuer did not answer a moment ago")
            self._next = time.monotonic() + ASK_AGAIN_S
            self._known = super().fetch_data()
        except Exception as error:  # away, or what it says is no key set
            if self._known is None:
                raise jwt.PyJWKClientConnectionError(f"no keys of the issuer: {error}") from error
            log.warning("the token issuer does not answer, its last keys hold", extra={"error": str(error)})
        return self._known

    def need_not_ask(self, token: str) -> bool:
        """Whether the key of `token` is at hand, or the token is none at all."""
        try:
            kid = jwt.get_unverified_header(token).get("kid")
        except (jwt.PyJWTError, ValueError, RecursionError):
            return True
        keys = self.jwk_set_cache.get() if self.jwk_set_cache is not None else None
        return isinstance(keys, jwt.PyJWKSet) and any(key.key_id == kid for key in keys.keys)


@dataclass(frozen=True, slots=True)
class _Known:
    principal: Principal
    expires: float
    """seconds of `time.time()`"""
    until: float
    """seconds of `time.monotonic()`"""


class Tokens:
    """Checks bearer tokens; in local stacks it makes them too."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self._lock = threading.Lock()
        self._private: Ed25519PrivateKey | None = None
        self._admin: str | None = None
        self._issuer = _Issuer(settings.jwks_url) if settings.jwks_url else None
        self._known: dict[str, _Known] = {}

    def known(self, token: str) -> Principal | None:
        """The principal of a token that was good a moment ago and has not expired since."""
        known = self._known.get(token)
        if known is None:
            return None
        if time.monotonic() < known.until and time.time() < known.expires:
            return known.principal
        self._known.pop(token, None)
        return None

    async def principal(self, token: str) -> Principal:
        """`check`; when the issuer has to be asked, which may take seconds, nobody else waits for it."""
        if self._issuer is None or self._issuer.need_not_ask(token):
            return self.check(token)
        return await asyncio.to_thread(self.check, token)

    def _admin_token(self) -> str:
        if self._admin is None:
            path = self.settings.data_dir / "admin.token"
            if self.settings.admin_token:
                self._admin = self.settings.admin_token
            elif self.settings.env == "local" and path.exists():
                self._admin = path.read_text().strip()
            else:
                self._admin = ""
        return self._admin

    def _key(self) -> Ed25519PrivateKey:
        with self._lock:
            if self._private is None:
                self._private = load_or_make_signing_key(self.settings.keys / SIGNING_KEY)
            return self._private

    def check(self, token: str) -> Principal:
        """The principal behind a bearer token. Raises `Problem` 401, or 503 when the issuer's keys cannot be had."""
        admin = self._admin_token()
        if admin and hmac.compare_digest(token.encode(), admin.encode()):
            return Principal("admin", frozenset(("admin",)))
        try:
            claims = self._claims(token)
        except jwt.ExpiredSignatureError as error:
            raise unauthorized("The token has expired; fetch a new one.") from error
        except jwt.PyJWKClientConnectionError as error:
            log.error("tokens cannot be checked", exc_info=error)
            detail = "The token issuer does not answer, so nobody can be let in; try again."
            raise Problem(503, "unavailable", detail, headers={"Retry-After": "5"}) from error
        except (jwt.PyJWTError, ValueError, TypeError, OverflowError, RecursionError) as error:
            raise unauthorized("The token is not valid here.") from error
        roles = claims.get("roles", [])
        if not isinstance(roles, list):
            raise unauthorized("The token's `roles` is no list.")
        principal = Principal(
            str(claims.get("sub", "")),
            frozenset(str(role) for role in roles) & ROLES,
            _codes(claims, "units"),
            _codes(claims, "regions"),
            str(claims["platform"]) if claims.get("platform") else None,
        )
        if len(self._known) >= KNOWN:
            self._known.clear()
        self._known[token] = _Known(principal, float(claims["exp"]), time.monotonic() + KNOWN_S)
        return principal

    def _claims(self, token: str) -> dict[str, Any]:
        required = {"require": ["exp", "sub"]}
        if self._issuer is not None:
            key = self._issuer.get_signing_key_from_jwt(token)  # knows its algorithm: another one is refused
            claims: dict[str, Any] = jwt.decode(
                token,
                key,
                algorithms=_ALGORITHMS,
                issuer=self.settings.jwt_issuer or None,
                audience=self.settings.jwt_audience or None,
                options=required,  # type: ignore[arg-type]
            )
            return claims
        public: Ed25519PublicKey = self._key().public_key()
        local: dict[str, Any] = jwt.decode(
            token,
            public,
            algorithms=["EdDSA"],
            issuer=f"sushu:{self.settings.platform}",
            options=required | {"verify_aud": False},  # type: ignore[arg-type]
        )
        return local

    def issue(
        self,
        sub: str,
        roles: list[str],
        *,
        units: list[str] | None = None,
        regions: list[str] | None = None,
        platform: str | None = None,
        ttl_s: int = 3600,
    ) -> tuple[str, datetime]:
        """A signed JWT and its end (api.md, `POST /v1/tokens`). Raises `Problem` in production."""
        if self.settings.env == "production":
            raise Problem(404, "not_found", "Tokens come from your issuer here; this call is for local stacks.")
        now = datetime.now(UTC)
        expires = now + timedelta(seconds=ttl_s)
        claims: dict[str, Any] = {
            "iss": f"sushu:{self.settings.platform}",
            "sub": sub,
            "roles": roles,
            "iat": now,
            "exp": expires,
        }
        for name, value in (("units", units), ("regions", regions), ("platform", platform)):
            if value:
                claims[name] = value
        return jwt.encode(claims, self._key(), algorithm="EdDSA"), expires


def _codes(claims: dict[str, Any], name: str) -> frozenset[str]:
    value = claims.get(name) or []
    if not isinstance(value, list):
        raise unauthorized(f"The token's `{name}` is no list.")
    return frozenset(str(code) for code in value)


def load_or_make_signing_key(path: Path) -> Ed25519PrivateKey:
    """The Ed25519 key in `path` (PEM, mode 600); made when missing."""
    if not path.exists():
        pem = Ed25519PrivateKey.generate().private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        write_once(path, pem)
    key = serialization.load_pem_private_key(path.read_bytes(), None)
    if not isinstance(key, Ed25519PrivateKey):
        raise ValueError(f"{path} holds no Ed25519 key; move it away and start again")
    return key
