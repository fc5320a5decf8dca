"""Java and the jars that Apache Kafka needs."""

import fcntl
import hashlib
import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Callable
from pathlib import Path

from deploy.local.errors import StackError

JAVA_AT_LEAST = 17
POM = Path(__file__).with_name("pom.xml")
LIB = Path(__file__).with_name("lib")
_WITHOUT_KAFKA = (
    "`make run` needs neither Java nor Maven; or point KAFKA_BOOTSTRAP_SERVERS to a Kafka of yours and run `make up`."
)


def find_java() -> str:
    """Path of a Java ≥ 17 (JAVA_HOME first, then PATH); raises StackError that says what to install."""
    home = os.environ.get("JAVA_HOME")
    java = shutil.which("java", path=f"{home}/bin") if home else None
    java = java or shutil.which("java")
    if java is None:
        raise StackError(
            f"Apache Kafka needs Java {JAVA_AT_LEAST} and there is none here.\n"
            f"Install one (Debian, Ubuntu: apt-get install openjdk-17-jre-headless maven).\n{_WITHOUT_KAFKA}"
        )
    told = subprocess.run([java, "-version"], capture_output=True, text=True, check=False)  # noqa: S603
    match = re.search(r'version "(\d+)', told.stderr)
    if match is None or int(match[1]) < JAVA_AT_LEAST:
        raise StackError(
            f"Apache Kafka needs Java {JAVA_AT_LEAST} or later; {java} is version {match[1] if match else 'unknown'}.\n"
            f"Install one, or set JAVA_HOME to it.\n{_WITHOUT_KAFKA}"
        )
    return java


def ensure_jars(fallback: Path, say: Callable[[str], None] = print) -> Path:
    """Folder with the jars of pom.xml, fetched once with Maven.

    They are kept beside pom.xml for every stack of this checkout, or in `fallback` where the checkout is read-only.
    """
    wanted = hashlib.sha256(POM.read_bytes()).hexdigest()
    for folder in (LIB, fallback):
        if _is_complete(folder, wanted):
            return folder
    lib = LIB if os.access(LIB.parent, os.W_OK) else fallback
    maven = shutil.which("mvn")
    if maven is None:
        raise StackError(
            "The jars of Apache Kafka are not here yet, and there is no Maven to fetch them.\n"
            f"Install one (Debian, Ubuntu: apt-get install maven).\n{_WITHOUT_KAFKA}"
        )
    lib.parent.mkdir(parents=True, exist_ok=True)
    with (lib.parent / ".jars.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # two stacks or test runs starting at once fetch them once
        if _is_complete(lib, wanted):
            return lib
        say("Fetching Apache Kafka with Maven (about 44 MB, once) …")
        draft = Path(tempfile.mkdtemp(dir=lib.parent, prefix=".lib."))
        try:
            _fetch(maven, draft)
            (draft / "complete").write_text(wanted)
            draft.chmod(0o755)
            shutil.rmtree(lib, ignore_errors=True)
            draft.rename(lib)
        finally:
            shutil.rmtree(draft, ignore_errors=True)
    return lib


def _is_complete(lib: Path, wanted: str) -> bool:
    try:
        return (lib / "complete").read_text() == wanted
    except OSError:
        return False


def _fetch(maven: str, target: Path) -> None:
    command = [maven, "-q", "-B", "-f", str(POM), "dependency:copy-dependencies", f"-DoutputDirectory={target}"]
    if not _has_home():
        command.append(f"-Dmaven.repo.local={target.parent / '.m2'}")
    done = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603
    if done.returncode != 0:
        reasons = [line for line in done.stdout.splitlines() if "ERROR" in line][:3]
        raise StackError(
            "Maven could not fetch the jars of Apache Kafka:\n" + "\n".join(reasons) + f"\n"
            f"Check the connection (or ~/.m2/settings.xml for your mirror) and try again.\n{_WITHOUT_KAFKA}"
        )


def _has_home() -> bool:
    home = os.environ.get("HOME", "")
    return bool(home) and os.access(home, os.W_OK)
