"""The data folder of a stack: who owns it, which processes belong to it, and where other programs find the stack.

<data dir>/
  sushu.json        says that this is a Sushu data folder, and its format
  stack.lock        held (flock) by the running stack, so that two never share a folder
  stack.json        for people and programs: base_url, transport, kafka, database_url, pids (mode 600)
  processes.json    every process with its identity, so that leftovers of a killed stack can be ended (mode 600)
  admin.token  keys/  log/  postgres/  kafka/  models/  gateway/
"""

import fcntl
import json
import os
import shutil
import tempfile
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from deploy.local.errors import StackError
from deploy.local.process import Identity

FORMAT = 1
LOG_KEEP_BYTES = 20_000_000
"""A log file beyond this size is moved to `<name>.1` when its program starts."""


def write_atomically(path: Path, text: str, mode: int = 0o600) -> None:
    """Write so that a reader sees the old or the new text, never a part, and only the owner may read it."""
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            os.fchmod(file.fileno(), mode)
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        Path(temporary).replace(path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise


class DataFolder:
    """One stack's folder. `open` makes or checks it; `claim` takes it for this process."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self._lock: int | None = None

    @classmethod
    def open(cls, root: Path) -> "DataFolder":
        """Make the folder, or check that an existing one is ours; raises StackError for a foreign one."""
        folder = cls(root)
        marker = root / "sushu.json"
        if root.exists() and not root.is_dir():
            raise StackError(f"{root} is a file. Set SUSHU_DATA_DIR to a folder.")
        try:
            root.mkdir(parents=True, exist_ok=True)
            foreign = not marker.exists() and any(entry.name != "stack.lock" for entry in root.iterdir())
            if not foreign and not marker.exists():
                root.chmod(0o700)
                write_atomically(marker, json.dumps({"format": FORMAT}) + "\n", 0o644)
        except OSError as trouble:
            raise StackError(
                f"{root} cannot be used ({trouble.strerror}). Set SUSHU_DATA_DIR to a folder that you may write to."
            ) from None
        if foreign:
            raise StackError(
                f"{root} holds files that are not Sushu's (it has no sushu.json), so it stays untouched.\n"
                "Set SUSHU_DATA_DIR to an empty or a new folder."
            )
        folder._check_format(marker)
        for name in ("log", "keys"):
            (root / name).mkdir(mode=0o700, exist_ok=True)
        return folder

    @staticmethod
    def _check_format(marker: Path) -> None:
        try:
            found = json.loads(marker.read_text(encoding="utf-8"))["format"]
        except (ValueError, KeyError, TypeError):
            found = None
        if found != FORMAT:
            raise StackError(
                f"{marker.parent} was written by another version of Sushu (format {found}, this one reads {FORMAT}).\n"
                "Use that version, or set SUSHU_DATA_DIR to a new folder."
            )

    def claim(self) -> bool:
        """Take the folder until this process ends, however it ends; False when a running stack has it."""
        handle = os.open(self.root / "stack.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(handle)
            return False
        self._lock = handle
        return True

    @property
    def lock_handle(self) -> int:
        """File descriptor of the claim, for the background process that takes it over."""
        assert self._lock is not None, "claim() first"
        return self._lock

    def adopt(self, lock_handle: int) -> None:
        """Take over the claim of the process that started this one."""
        os.set_inheritable(lock_handle, False)  # the children of a stack must not keep it claimed
        self._lock = lock_handle

    def release(self) -> None:
        """Give the folder back."""
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    def log(self, name: str) -> Path:
        """Log file of a program; a large old one is set aside first."""
        path = self.root / "log" / f"{name}.log"
        if path.exists() and path.stat().st_size > LOG_KEEP_BYTES:
            path.replace(path.with_suffix(".log.1"))
        return path

    # -- stack.json and processes.json ---------------------------------------------------------------------------------

    def publish(self, stack: Mapping[str, Any]) -> None:
        """Write stack.json."""
        write_atomically(self.root / "stack.json", json.dumps(stack, indent=2) + "\n")

    def published(self) -> dict[str, Any] | None:
        """stack.json, or None when no stack has written it."""
        found: dict[str, Any] | None = self._read("stack.json")
        return found

    def record(self, processes: Iterable[Identity]) -> None:
        """Remember the identity of every process of the stack."""
        write_atomically(self.root / "processes.json", json.dumps([process.to_json() for process in processes]) + "\n")

    def recorded(self) -> list[Identity]:
        """The processes that the last stack remembered, running or not."""
        return [Identity.from_json(entry) for entry in self._read("processes.json") or []]

    def forget(self) -> None:
        """The stack is gone: remove what points to it."""
        for name in ("stack.json", "processes.json"):
            (self.root / name).unlink(missing_ok=True)

    def remove(self) -> None:
        """Delete all data. Only for a folder that `open` accepted and that no stack holds."""
        shutil.rmtree(self.root)

    def _read(self, name: str) -> Any:
        try:
            return json.loads((self.root / name).read_text(encoding="utf-8"))
        except (FileNotFoundError, ValueError):
            return None
