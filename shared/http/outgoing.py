"""HTTP requests to addresses that somebody else named: only to where we may call, bounded in time and size.

Whoever names an address must not make us call our own network (server-side request forgery). So the address is judged
when the connection is made, not when the name is read: a name that points elsewhere a moment later gains nothing, and
redirects are never followed.
"""

import asyncio
import ipaddress
import socket
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from urllib.parse import urlsplit

import httpcore

LARGEST_ANSWER = 64 * 1024
"""bytes of an answer that are read: nobody needs more than its status"""

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Network = ipaddress.IPv4Network | ipaddress.IPv6Network


class NotSent(Exception):
    """The request got no answer: no connection, no time, or an address that may not be called."""


@dataclass(frozen=True, slots=True)
class Reply:
    """The status and the one header that says when to come again."""

    status: int
    retry_after_s: float | None = None


def networks_of(listed: str) -> tuple[Network, ...]:
    """Networks in CIDR notation, separated by commas. Raises `ValueError`."""
    return tuple(ipaddress.ip_network(part.strip()) for part in listed.split(",") if part.strip())


def may_call(address: Address, allowed: Iterable[Network]) -> bool:
    """Addresses of the public internet, and those of the networks that the operator allows."""
    mapped = getattr(address, "ipv4_mapped", None)
    if mapped is not None:
        return may_call(mapped, allowed)
    if any(address.version == network.version and address in network for network in allowed):
        return True
    return address.is_global and not address.is_multicast


def wrong_with(url: str, allowed: Sequence[Network], *, tls_only: bool) -> str | None:
    """Why `url` cannot be called, in words, as far as its text tells; None when nothing is wrong with it."""
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        return "is no URL"
    if parts.scheme not in ("http", "https") or not parts.hostname:
        return "must be an http or https URL with a host"
    if port == 0:
        return "names port 0"
    if parts.username is not None or parts.password is not None:
        return "must not hold a user or a password: requests are signed instead"
    if parts.fragment:
        return "must not have a fragment (#…)"
    try:
        address = ipaddress.ip_address(parts.hostname)
    except ValueError:
        address = None
    listed = address is not None and any(address.version == one.version and address in one for one in allowed)
    if tls_only and parts.scheme != "https" and not listed:
        return "must be https"
    if address is not None and not may_call(address, allowed):
        return "is an address of a private network; whoever runs the hub can allow it (SUSHU_WEBHOOK_NETWORKS)"
    return None


class _Guarded(httpcore.AsyncNetworkBackend):
    """Connects only to where `may_call` says so."""

    def __init__(self, allowed: Sequence[Network]) -> None:
        self._inner = httpcore.AnyIOBackend()
        self._allowed = allowed

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[httpcore.SOCKET_OPTION] | None = None,
    ) -> httpcore.AsyncNetworkStream:
        try:
            async with asyncio.timeout(timeout):
                found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
        except (OSError, UnicodeError) as error:
            raise httpcore.ConnectError(f"the name {host} is not known") from error
        addresses = [str(entry[4][0]).partition("%")[0] for entry in found]
        for address in addresses:
            if not may_call(ipaddress.ip_address(address), self._allowed):
                raise httpcore.ConnectError(f"{host} is an address of a private network")
        return await self._inner.connect_tcp(addresses[0], port, timeout, local_address, socket_options)

    async def connect_unix_socket(
        self,
        path: str,
        timeout: float | None = None,
        socket_options: Iterable[httpcore.SOCKET_OPTION] | None = None,
    ) -> httpcore.AsyncNetworkStream:
        raise httpcore.ConnectError("no local sockets")

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)


class Outgoing:
    """Posts to addresses of others; keeps connections for the next request. One object a process."""

    def __init__(self, allowed: Sequence[Network], *, timeout_s: float, connections: int = 64) -> None:
        """`timeout_s`: of a whole request, from the look at its name to the end of its answer."""
        self.timeout_s = timeout_s
        self._pool = httpcore.AsyncConnectionPool(
            network_backend=_Guarded(allowed),
            max_connections=connections,
            max_keepalive_connections=connections,
            keepalive_expiry=30,
        )

    async def post(self, url: str, body: bytes, headers: Mapping[str, str]) -> Reply:
        """The answer's status. Raises `NotSent`."""
        limits = {"connect": self.timeout_s, "read": self.timeout_s, "write": self.timeout_s, "pool": self.timeout_s}
        try:
            async with (
                asyncio.timeout(self.timeout_s),
                self._pool.stream(
                    "POST", url, headers=list(headers.items()), content=body, extensions={"timeout": limits}
                ) as answer,
            ):
                read = 0
                async for piece in answer.aiter_stream():
                    read += len(piece)
                    if read > LARGEST_ANSWER:
                        break
                return Reply(answer.status, _retry_after(answer.headers))
        except TimeoutError as error:
            raise NotSent(f"no answer within {self.timeout_s:g} s") from error
        except (httpcore.TimeoutException, httpcore.NetworkError, httpcore.ProtocolError, OSError) as error:
            words = str(error) or type(error).__name__
            raise NotSent(words[:300]) from error
        except httpcore.UnsupportedProtocol as error:
            raise NotSent(str(error)) from error

    async def close(self) -> None:
        await self._pool.aclose()


def _retry_after(headers: Iterable[tuple[bytes, bytes]]) -> float | None:
    for name, value in headers:
        if name.lower() == b"retry-after" and value.strip().isdigit() and len(value) <= 9:
            return float(value)
    return None
