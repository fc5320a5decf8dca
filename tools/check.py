"""What `make check` runs: style, types, import rules, fresh generated files, nothing unwanted in the repository.

python -m tools.check              every part, each with its time
python -m tools.check types        one part or several, by name
"""

from __future__ import annotations

import ast
import re
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from tools.k8s import overlays

ROOT = Path(__file__).resolve().parent.parent
PACKAGES = ("services", "shared", "deploy", "tools", "tests")

# --- the domain imports nothing -------------------------------------------------------------------------------------

# standard library all the same, but a clock, the network, the disk or chance (architecture.md, Layout of a service)
IMPURE = frozenset({"asyncio", "http", "multiprocessing", "os", "random", "secrets", "socket", "sqlite3"})
IMPURE |= {"subprocess", "threading", "time", "urllib"}
STRUCTS = "msgspec"
"""plain values without the cost of dataclasses where steps of a domain are many (ADR 0013)"""
IMPURE_CALLS = frozenset({"open", "print", "input"})
IMPURE_METHODS = frozenset({"now", "utcnow", "today", "read_text", "write_text", "read_bytes", "write_bytes"})


def domain_files(root: Path = ROOT) -> list[Path]:
    """Every file of a service's domain, whether it is a module or a package."""
    return sorted([*root.glob("services/*/domain.py"), *root.glob("services/*/domain/**/*.py")])


def imported(node: ast.Import | ast.ImportFrom) -> list[str]:
    """Absolute module names of an import; a relative one stays inside its package."""
    if isinstance(node, ast.Import):
        return [alias.name for alias in node.names]
    return [] if node.level else [node.module or ""]


def impurities(source: str, own_package: str) -> Iterator[tuple[int, str]]:
    """Line and sentence for each import or call by which a domain module is not pure.

    ``own_package`` is the dotted name that it may import from, e.g. ``services.sla.domain``.
    """
    try:
        tree = ast.parse(source)
    except SyntaxError as error:
        yield error.lineno or 0, f"cannot be read by this Python: {error.msg}"
        return
    for node in ast.walk(tree):
        if isinstance(node, ast.Import | ast.ImportFrom):
            for name in imported(node):
                top = name.partition(".")[0]
                if name == own_package or name.startswith(own_package + "."):
                    continue
                if top not in sys.stdlib_module_names and top != STRUCTS:
                    yield node.lineno, f"imports {name}; a domain imports the standard library only"
                elif top in IMPURE:
                    yield node.lineno, f"imports {name}; a domain has no clock, no chance and no I/O"
        if isinstance(node, ast.Call):
            called = node.func
            if isinstance(called, ast.Name) and called.id in IMPURE_CALLS:
                yield node.lineno, f"calls {called.id}(); a domain has no I/O"
            if isinstance(called, ast.Attribute) and called.attr in IMPURE_METHODS:
                yield node.lineno, f"calls .{called.attr}(); the time and the data of a domain are its arguments"


def domain_is_pure() -> list[str]:
    found = []
    for path in domain_files():
        service = path.relative_to(ROOT / "services").parts[0]
        for line, sentence in impurities(path.read_text("utf-8"), f"services.{service}.domain"):
            found.append(f"{path.relative_to(ROOT)}:{line}: {sentence}")
    return found


# --- what a repository must not hold --------------------------------------------------------------------------------

# The words are put together here, so that this file does not find itself.
UNWANTED: tuple[tuple[str, re.Pattern[str]], ...] = (
    ("a path of one machine", re.compile(r"(?<![\w.])/(?:wo" + r"rk|ro" + r"ot|Us" + r"ers|ho" + r"me)/[\w.-]+")),
    (
        "the host of a package or image registry",
        re.compile(
            r"\b(?:files\.python" + r"hosted\.org|(?:test\.)?py" + r"pi\.org|registry\.npm" + r"js\.org|repo1?\.maven"
            r"\.(?:apache\.)?org|ghc" + r"r\.io|qua" + r"y\.io|gc" + r"r\.io|(?:[\w-]+\.)?docker" + r"\.io|proxy\.gol"
            r"ang\.org|deb\.debi" + r"an\.org)\b"
        ),
    ),
    ("a private key", re.compile(r"-----BEGIN [A-Z ]*PRIVATE " + r"KEY-----")),
    ("a token", re.compile(r"\bey" + r"J[\w-]{15,}\.[\w-]{15,}\.[\w-]{15,}|\bgh[pousr]_\w{30,}|\bAKIA[0-9A-Z]{16}\b")),
    (
        "a password in an address",
        re.compile(
            r"\b(?:postgresql|postgres|mysql|redis|amqp|https?)(?:\+\w+)?://(?!user:password@)[\w.-]+:[^@\s/{}$<>'\"…*]+@[\w.-]+"
        ),
    ),
)


def tracked_files(root: Path = ROOT) -> list[Path]:
    """Files that git knows or would add: what leaves the machine with the next commit."""
    listing = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    done = subprocess.run(listing, cwd=root, capture_output=True, check=True)  # noqa: S603 - fixed command
    names = [name for name in done.stdout.decode().split("\0") if name]
    return [root / name for name in sorted(set(names)) if (root / name).is_file()]


def unwanted(text: str) -> Iterator[tuple[int, str]]:
    """Line and sentence for each machine path, registry host or secret in a text."""
    for number, line in enumerate(text.splitlines(), start=1):
        for what, pattern in UNWANTED:
            if hit := pattern.search(line):
                # the secret itself must not travel on into logs
                shown = hit.group() if what.startswith(("a path", "the host")) else hit.group()[:12] + "…"
                yield number, f"{what}: {shown}"


def nothing_unwanted() -> list[str]:
    found = []
    for path in tracked_files():
        try:
            text = path.read_text("utf-8")
        except UnicodeDecodeError:
            continue
        found += [f"{path.relative_to(ROOT)}:{line}: {sentence}" for line, sentence in unwanted(text)]
    return found


# --- the parts ------------------------------------------------------------------------------------------------------


def command(*words: str) -> Callable[[], list[str]]:
    """A part that runs a program of the project's own environment and shows what it says when it fails."""

    def run() -> list[str]:
        done = subprocess.run([sys.executable, "-m", *words], cwd=ROOT, capture_output=True, text=True, check=False)  # noqa: S603
        return (done.stdout + done.stderr).strip().splitlines() if done.returncode else []

    return run


def import_rules() -> list[str]:
    program = Path(sys.executable).with_name("lint-imports")
    done = subprocess.run([str(program)], cwd=ROOT, capture_output=True, text=True, check=False)  # noqa: S603
    return (done.stdout + done.stderr).strip().splitlines() if done.returncode else []


PARTS: dict[str, Callable[[], list[str]]] = {
    "style": command("ruff", "check", "--output-format=concise", "."),
    # not ".": ruff would also reformat the fragments of code in Markdown, which are cut short for the reader
    "format": command("ruff", "format", "--check", "--quiet", *PACKAGES),
    "types": command("mypy", "--strict", *PACKAGES),
    "imports": import_rules,
    "domain": domain_is_pure,
    "generated": command("tools.generate", "--check"),
    "routes": lambda: list(overlays.stale_files()),
    "hygiene": nothing_unwanted,
}


SHOWN = 40
"""lines of a failing part, when it runs beside others"""


def main(wanted: Sequence[str]) -> int:
    """Run the named parts, or all; the number of parts that failed (2 for an unknown name)."""
    if unknown := [name for name in wanted if name not in PARTS]:
        sys.stderr.write(f"no part {', '.join(unknown)}; there are: {', '.join(PARTS)}\n")
        return 2
    failed = 0
    shown = SHOWN if len(wanted) != 1 else None
    for name in wanted or PARTS:
        start = time.monotonic()
        found = PARTS[name]()
        failed += bool(found)
        sys.stdout.write(f"{name:<9} {'FAILED' if found else 'ok':<6} {time.monotonic() - start:5.1f} s\n")
        sys.stdout.writelines(f"    {sentence}\n" for sentence in found[:shown])
        if shown and len(found) > shown:
            sys.stdout.write(
                f"    … and {len(found) - shown} lines more: `python -m tools.check {name}` alone shows all\n"
            )
        sys.stdout.flush()
    return failed


if __name__ == "__main__":
    sys.exit(min(main(sys.argv[1:]), 1))
