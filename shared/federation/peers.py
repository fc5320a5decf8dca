"""This platform among the others: the directory and the own keys as they are now, seals, and who may knock."""

from __future__ import annotations

import asyncio
import base64
import logging
import time
from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import urlsplit

import orjson
from fastapi import Request
from limits import RateLimitItemPerMinute
from prometheus_client import Counter
from starlette.requests import ClientDisconnect

from shared.db import audit
from shared.db.database import Database
from shared.errors import Problem, Transient
from shared.federation.directory import KEYID, Directory, DirectoryFile, Peer
from shared.federation.keys import KeyFile, PlatformKeys, SealError, seal
from shared.federation.signatures import AHEAD_S, OLDEST_S, SignatureError, Signed, sign, verify
from shared.http.commands import Answer, CommandQueue
from shared.http.requests import BODY_LIMIT, too_large
from shared.outbox.uow import Uow
from shared.settings import Settings

REFUSED = Counter("sushu_peer_calls_refused_total", "Calls of other platforms that were refused", ["code"])

NONCES_S = OLDEST_S + AHEAD_S + 60.0
CARE_S = 60.0

log = logging.getLogger(__name__)


def back_off(bounds: tuple[float, float], failures: int, dice: float) -> float:
    """Seconds before a platform is tried again after `failures` (0, 1, …) more than the first: doubling from the first
    to the longest of `bounds`; `dice` in [0, 1) spreads those who wait alike."""
    first, longest = bounds
    return float(min(longest, first * 2 ** min(failures, 12)) * (0.75 + dice / 4))


class Peers:
    """The directory (read again when its file changes) and the keys of this platform."""

    def __init__(self, settings: Settings) -> None:
        self.own = settings.platform
        self._url = settings.url
        self._file = DirectoryFile(settings.platforms)
        self._keys = KeyFile(
            settings.keys, settings.platform, make=bool(settings.platforms) and settings.env == "local"
        )

    @property
    def directory(self) -> Directory | None:
        """As it is now; the last good one while the file cannot be used."""
        self._file.look()
        return self._file.current

    @property
    def trouble(self) -> list[str]:
        """Reasons why no other platform can be spoken with although a directory is given."""
        if not self._file.path:
            return []
        if self.directory is None:
            return [self._file.trouble or "the platform directory was not read"]
        try:
            missing = self._keys.look() is None
        except ValueError as error:
            return [str(error)]
        make = f"write it with `python -m services.intake platform-key {self._keys.path.parent}`"
        return [f"{self._keys.path} is missing: {make}"] if missing else []

    @property
    def keys(self) -> PlatformKeys:
        """Raises Problem 403 without."""
        found = self._keys.look()
        if found is None:
            raise Problem(403, "no_key", "This platform has no key yet.")
        return found

    def reachable(self, code: str) -> Peer | None:
        """A platform that can be called."""
        directory = self.directory
        peer = directory.peers.get(code) if directory and code != self.own else None
        return peer if peer and peer.base_url and peer.keys else None

    @property
    def children(self) -> list[str]:
        """The platforms right below this one that can be called."""
        directory = self.directory or Directory()
        return [code for code in directory.peers if directory.parent(code) == self.own and self.reachable(code)]

    def rates_at(self, url: str) -> bool:
        """Whether an address is where some platform of the directory lets citizens rate."""
        directory = self.directory or Directory()
        return any(
            peer.base_url and url.startswith(f"{peer.base_url}/v1/ratings/") for peer in directory.peers.values()
        )

    def _home(self, directory: Directory) -> tuple[str, str]:
        """Authority and path prefix under which others call this platform."""
        listed = directory.peers.get(self.own)
        peer = listed if listed and listed.base_url else Peer(self.own, base_url=self._url)
        return peer.authority, urlsplit(peer.base_url).path

    def signed(self, peer: Peer, method: str, path: str, body: bytes, query: str = "") -> tuple[str, dict[str, str]]:
        """Address and header fields of a request to `peer`, signed now with the newest key; `query` without `?`."""
        keyid, key = self.keys.newest(self.directory or Directory())
        whole = urlsplit(peer.base_url).path + path
        headers = sign(method, peer.authority, whole, body, keyid=keyid, key=key, created=int(time.time()), query=query)
        return peer.base_url + path + (f"?{query}" if query else ""), headers

    def seal(self, platform: str, content: Mapping[str, Any]) -> str | None:
        """`content` sealed to the newest key of a platform, in base64; None when the directory has none."""
        directory = self.directory
        peer = directory.peers.get(platform) if directory else None
        if peer is None or not peer.keys:
            return None
        try:
            return base64.b64encode(seal(peer.keys[max(peer.keys)], orjson.dumps(content))).decode()
        except SealError:
            return None

    def open(self, sealed: str) -> dict[str, Any]:
        """What was sealed to this platform. Raises SealError."""
        try:
            content = orjson.loads(self.keys.open(base64.b64decode(sealed, validate=True)))
        except ValueError as error:  # a SealError is one, too
            raise SealError(str(error)) from None
        if not isinstance(content, dict):
            raise SealError("holds no JSON object")
        return content

    def check(self, request: Request, body: bytes) -> Signed:
        """Who sent this; without a directory nobody is believed. Raises SignatureError."""
        directory = self.directory or Directory()
        authority, prefix = self._home(directory)
        headers = request.scope["headers"]
        path, query = prefix + request.url.path, request.scope["query_string"].decode("latin-1")
        return verify(
            request.method, authority, path, headers, body, key_of=directory.key, now=time.time(), query=query
        )


class Door:
    """Lets believed requests of other platforms in; every other one is refused with a problem document and audited.

    The service has a table `peer_nonces (platform, nonce, seen_at DEFAULT now())`.
    """

    def __init__(self, peers: Peers, database: Database) -> None:
        self.peers = peers
        self.database = database
        self._nonces: CommandQueue[Signed] = CommandQueue(database, _use_nonces)

    async def admit(self, request: Request) -> tuple[Signed, bytes]:
        """The sender and the bytes of a request that is signed, fresh and new. Raises Problem; the caller's refusals go
        through `refuse`, too."""
        body = await _read(request)
        try:
            signed = self.peers.check(request, body)
        except SignatureError as error:
            raise _unbelieved(error) from None
        if signed.platform == self.peers.own:
            raise _unbelieved(SignatureError("own_key", "This platform does not call itself.", signed.keyid))
        if not (await self._nonces.submit(signed)).answer["new"]:
            raise _unbelieved(SignatureError("replayed", "This nonce was used; sign it anew.", signed.keyid))
        return signed, body

    async def care(self) -> None:
        """Forget nonces whose requests would be too old by now, until cancelled."""
        while True:
            await asyncio.sleep(CARE_S)
            try:
                async with self.database.transaction() as uow:
                    await uow.pg.execute(
                        f"DELETE FROM {self.database.schema}.peer_nonces"
                        " WHERE seen_at < now() - make_interval(secs => $1)",
                        NONCES_S,
                    )
            except Transient as error:
                log.warning("nonces of other platforms wait for the store", extra={"error": str(error)})

    async def refuse(self, request: Request, problem: Problem, platform: str | None) -> Problem:
        """The same problem, audited. `platform` is who signed, None when nobody is proved: of those no more than the
        public rate allows are written a minute and address, so that a flood fills no table."""
        if problem.status >= 500:
            return problem
        REFUSED.labels(problem.code).inc()
        rate: int = request.app.state.public_rate
        address = request.client.host if request.client else "unknown"
        if (
            platform is None
            and rate
            and not request.app.state.limiter.hit(RateLimitItemPerMinute(rate), "peer", address)
        ):
            return Problem(429, "too_many_requests", "Too many refused calls; wait.", headers={"Retry-After": "10"})
        claimed = str(problem.extra.pop("keyid", ""))
        claimed = claimed if KEYID.fullmatch(claimed) else ""
        async with self.database.transaction() as uow:
            await audit.record(
                uow,
                actor=f"platform:{platform}" if platform else "unknown",
                action="peer_call_refused",
                subject=f"{request.method} {request.url.path}"[:200],
                reason=problem.code,
                detail={"status": problem.status, "keyid": claimed, "address": address},
            )
        return problem


async def _use_nonces(calls: Sequence[Signed], uow: Uow) -> list[Answer | Problem]:
    """Whether each call's nonce is new; of two with the same one the first is."""
    nonces = sorted({(call.platform, call.nonce) for call in calls})
    rows = await uow.pg.fetch(
        f"INSERT INTO {uow.schema}.peer_nonces (platform, nonce) SELECT * FROM unnest($1::text[], $2::text[])"
        " ON CONFLICT DO NOTHING RETURNING platform, nonce",
        [platform for platform, _ in nonces],
        [nonce for _, nonce in nonces],
    )
    new = {(row["platform"], row["nonce"]) for row in rows}
    answers: list[Answer | Problem] = []
    for call in calls:
        nonce = (call.platform, call.nonce)
        answers.append({"new": nonce in new})
        new.discard(nonce)
    return answers


def _unbelieved(error: SignatureError) -> Problem:
    headers = {"WWW-Authenticate": 'Signature realm="platforms"'}
    return Problem(401, error.code, error.detail, headers=headers, keyid=error.keyid)


async def _read(request: Request) -> bytes:
    """The body, at most `BODY_LIMIT` bytes: beyond that nothing is kept. Raises Problem 413."""
    length = request.headers.get("content-length", "0")
    if length.isdigit() and int(length) > BODY_LIMIT:
        raise too_large(BODY_LIMIT)
    parts, size = [], 0
    try:
        async for part in request.stream():
            size += len(part)
            if size > BODY_LIMIT:
                raise too_large(BODY_LIMIT)
            parts.append(part)
    except ClientDisconnect:
        raise Problem(400, "bad_request", "The connection was lost before the body was there.") from None
    return b"".join(parts)
