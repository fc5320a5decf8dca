"""Ports on this machine: is one free, and which one may a program have."""

import errno
import random
import socket

from deploy.local.errors import StackError

# below the range from which Linux and macOS take the local port of an outgoing connection, so that no client of ours
# can sit on a server's port while the server restarts
_FIRST, _LAST = 20000, 32000


def is_free(port: int, host: str = "127.0.0.1") -> bool:
    """True when a server could listen on host:port now."""
    return _refusal(port, host) is None


def _refusal(port: int, host: str) -> int | None:
    """errno of an attempt to listen on host:port, None when it works."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            return error.errno or errno.EADDRINUSE
    return None


def is_listening(port: int, host: str = "127.0.0.1") -> bool:
    """True when somebody answers on host:port."""
    try:
        socket.create_connection((host, port), timeout=0.5).close()
    except OSError:
        return False
    return True


def free_port(avoid: frozenset[int] = frozenset()) -> int:
    """A free loopback port for an internal server, not one of `avoid`."""
    for _ in range(200):
        port = random.randint(_FIRST, _LAST)
        if port not in avoid and is_free(port):
            return port
    raise StackError(f"No free port between {_FIRST} and {_LAST} on 127.0.0.1. Stop some servers and try again.")


def require_free(port: int, variable: str, what: str, host: str = "127.0.0.1") -> None:
    """Raise StackError when `port` is taken, naming the variable that moves it."""
    refusal = _refusal(port, host)
    if refusal is None:
        return
    if refusal == errno.EACCES:
        raise StackError(
            f"Port {port} is reserved for the system's administrator. Choose one above 1023: {variable}=8000"
        )
    if refusal != errno.EADDRINUSE:
        raise StackError(f"{host!r} is no address of this machine. Set SUSHU_HOST to one, or unset it.")
    raise StackError(
        f"Port {port} on {host}, needed for {what}, is in use by another program.\n"
        f"Stop that program, or choose another port: {variable}={port + 100 if port < 65000 else 8000} make …\n"
        "A second stack also needs its own SUSHU_DATA_DIR."
    )
