"""The commands of README, integration guide and runbooks, run as written against a stack of `make run`."""

from __future__ import annotations

import os
import re
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]
READY_WITHIN_S = 180

pytestmark = pytest.mark.timeout(300)  # a whole hub starts first, on a machine that may be busy with others

# What a person would copy from an answer, taken from the last one by the machine; everything else runs as it stands.
COPIED = {
    "ID=…": "ID=$(pick id)",
    "reference_no=…&query_code=…": "reference_no=$REFERENCE&query_code=$QUERY",
    "after=<cursor>": "after=$(pick next)",
}
PRELUDE = r"""
set -euo pipefail
curl() { command curl --fail-with-body "$@" | tee "$WORK/last"; }
pick() { python3 -c 'import json, sys; print(json.load(open(sys.argv[1]))[sys.argv[2]])' "$WORK/${2:-last}" "$1"; }
"""


@pytest.fixture(scope="module")
def stack() -> Iterator[dict[str, str]]:
    """Environment of a shell beside a running hub: BASE, where the token is, a folder for answers."""
    # not pytest's own folder: another run of it would take away the right of PostgreSQL's user to pass through
    folder = Path(tempfile.mkdtemp(prefix="sushu-documents-"))
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    base = f"http://127.0.0.1:{port}"
    settings = {
        "SUSHU_PORT": str(port),
        "SUSHU_DATA_DIR": str(folder / "data"),
        "SUSHU_DEMO_STREAM": "off",
        "SUSHU_WEBHOOK_NETWORKS": "127.0.0.0/8",
    }
    clean = {
        name: value for name, value in os.environ.items() if not name.startswith(("SUSHU_", "DATABASE_", "KAFKA_"))
    }
    with (folder / "out").open("wb") as out:
        hub = subprocess.Popen(
            [sys.executable, "-m", "deploy.local", "run"], cwd=ROOT, env=clean | settings, stdout=out, stderr=out
        )
    try:
        until = time.monotonic() + READY_WITHIN_S
        while True:
            try:
                with urllib.request.urlopen(f"{base}/health/ready", timeout=2):
                    break
            except (urllib.error.URLError, TimeoutError, ConnectionError):
                assert hub.poll() is None, (folder / "out").read_text("utf-8")
                assert time.monotonic() < until, (folder / "out").read_text("utf-8")
                time.sleep(0.2)
        yield clean | {"BASE_URL": base, "TOKEN_FILE": str(folder / "data" / "admin.token"), "WORK": str(folder)}
    finally:
        hub.terminate()
        hub.wait(timeout=30)
        shutil.rmtree(folder, ignore_errors=True)


def shell_blocks(document: str, heading: str) -> str:
    """The `sh` blocks below a heading, up to the next one of its level."""
    text = (ROOT / document).read_text("utf-8")
    level = heading.split(" ", 1)[0]
    start = re.search(rf"^{re.escape(heading)}.*$", text, re.MULTILINE)
    assert start is not None, f"{document} has no heading {heading!r}"
    rest = text[start.end() :]
    end = re.search(rf"^{level} ", rest, re.MULTILINE)
    return "\n".join(re.findall(r"```sh\n(.*?)```", rest[: end.start() if end else None], re.DOTALL))


def run(stack: dict[str, str], script: str) -> str:
    """Run shell text with the example's address and token file exchanged; what it printed."""
    script = script.replace("http://127.0.0.1:8000", stack["BASE_URL"]).replace(
        ".sushu/admin.token", stack["TOKEN_FILE"]
    )
    for shown, copied in COPIED.items():
        script = script.replace(shown, copied)
    # an appeal is on its way for a moment; a person is slower than a script
    script = script.replace(
        "ID=$(pick id)", "ID=$(pick id); REFERENCE=$(pick reference_no); QUERY=$(pick query_code); sleep 2"
    )
    done = subprocess.run(
        ["bash", "-c", PRELUDE + script], env=stack, capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}\n--- of ---\n{script}"
    return done.stdout


@pytest.mark.parametrize("document", ["README.md", "README.zh-CN.md"])
def test_first_appeal_of_the_readme_is_dispatched(stack: dict[str, str], document: str) -> None:
    heading = "## The first appeal" if document == "README.md" else "## 第一件诉求"
    out = run(stack, shell_blocks(document, heading))
    assert '"status":"dispatched"' in out
    for fact in ("appeal.received", "label.classified", "work_order.dispatched"):
        assert fact in out


def test_both_readmes_give_the_same_commands() -> None:
    def commands(document: str) -> list[str]:
        text = (ROOT / document).read_text("utf-8")
        lines = "\n".join(re.findall(r"```sh\n(.*?)```", text, re.DOTALL)).splitlines()
        return [re.sub(r"\s+#.*", "", line) for line in lines]

    assert commands("README.md") == commands("README.zh-CN.md")


def test_integration_guide_works_from_token_to_feed(stack: dict[str, str]) -> None:
    guide = "docs/integration-guide.md"
    headings = ["## 1. A token", "## 2. Push an appeal", "## 3. Many at once", "## 4.", "## 5. Pull events"]
    parts = [shell_blocks(guide, heading) for heading in headings]
    token, push, batch, read, feed = parts
    files = shell_blocks(guide, "### Files")
    photo = "\\xff\\xd8\\xff\\xe0\\x00\\x10JFIF\\x00\\x01\\x01\\x00\\x00\\x01\\x00\\x01\\x00\\x00\\xff\\xd9"
    script = "\n".join(
        [
            f"BASE={stack['BASE_URL']}\nADMIN=$(cat {stack['TOKEN_FILE']})",
            token,
            push.replace(files, "").replace("curl -s -i", "curl -s"),
            "ID=$(pick id)",
            f"cd \"$WORK\" && printf '{photo}' > photo.jpg",
            files,
            batch,
            read,
            feed,
        ]
    )
    out = run(stack, script)
    assert '"media_type":"image/jpeg"' in out
    assert '"line":2,"status":422' in out
    assert '"specversion":"1.0"' in out


def test_example_client_exchanges_both_ways_as_the_guide_shows(stack: dict[str, str], tmp_path: Path) -> None:
    guide = "docs/integration-guide.md"
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = str(probe.getsockname()[1])
    client = shell_blocks(guide, "## 7. A client").replace(".venv/bin/python", sys.executable)
    script = "\n".join(
        [
            f"BASE={stack['BASE_URL']}\nADMIN=$(cat {stack['TOKEN_FILE']})",
            f"export CLIENT_STATE={tmp_path}/client.sqlite",
            shell_blocks(guide, "## 1. A token"),
            shell_blocks(guide, "## 6. Or have them pushed"),
            client,
        ]
    )
    out = run(stack, script.replace("9000", port).replace("webhook.json", f"{tmp_path}/webhook.json"))
    pulled, _, pushed = out.partition("\n" + out.splitlines()[-1])  # the last line is of the receiver
    assert "appeal.received" in pulled
    assert "work_order.dispatched" in pushed or "work_order.dispatched" in out.splitlines()[-1]


def test_runbook_commands_answer(stack: dict[str, str]) -> None:
    common = shell_blocks("docs/runbooks/README.md", "# Runbooks")
    killed = shell_blocks("docs/runbooks/killed.md", "# A process was killed")
    lag = shell_blocks("docs/runbooks/lag.md", "# A service is behind")
    listing = shell_blocks("docs/runbooks/dead-letters.md", "# Dead letters").splitlines()[0]
    script = "\n".join([common, killed, lag, listing])
    give_up = time.monotonic() + 20
    while (out := run(stack, script)).count('"differences":0') < 8 and time.monotonic() < give_up:
        time.sleep(0.5)  # what is on its way counts as a difference until it is read
    assert out.count('"differences":0') == 8


def test_links_of_the_documents_lead_somewhere() -> None:
    broken = []
    for document in [*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"), *ROOT.glob("deploy/**/*.md")]:
        if "lib" in document.parts:
            continue
        for target in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", document.read_text("utf-8")):
            if not (document.parent / target).exists():
                broken.append(f"{document.relative_to(ROOT)}: {target}")
    assert broken == []
