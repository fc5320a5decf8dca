"""Plug-ins: built-ins in an explicit tuple, others by entry point; configuration alone enables and orders them."""

from collections.abc import Mapping, Sequence
from importlib.metadata import entry_points
from typing import Any, TypeVar

T = TypeVar("T")


class PluginMissing(Exception):
    """Configuration names a plug-in that is not installed: the service is not ready until it is."""


def load(group: str, built_in: Mapping[str, T], enabled: Sequence[str]) -> list[T]:
    """The plug-ins named in `enabled`, in that order: built-ins first by name, then the entry points of `group`.

    An entry point's object is called when it is a class or factory. Raises `PluginMissing` with the names that are
    installed.
    """
    installed = {point.name: point for point in entry_points(group=group)}
    found: list[T] = []
    for name in enabled:
        if name in built_in:
            found.append(built_in[name])
        elif name in installed:
            thing: Any = installed[name].load()
            found.append(thing() if callable(thing) else thing)
        else:
            names = ", ".join(sorted({*built_in, *installed})) or "none"
            raise PluginMissing(f"`{name}` is not a known plug-in of `{group}`; installed: {names}")
    return found
