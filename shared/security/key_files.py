"""Key files: written once, readable by their owner alone, never overwritten."""

import os
from pathlib import Path


def write_once(path: Path, content: bytes) -> bool:
    """Write a new file, mode 600, whole or not at all; False, and nothing is changed, when there is one already. Of two
    processes at once the first one wins."""
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    fresh = path.with_name(f"{path.name}.{os.getpid()}.new")
    fresh.touch(mode=0o600)
    try:
        fresh.write_bytes(content)
        path.hardlink_to(fresh)
    except FileExistsError:
        return False
    finally:
        fresh.unlink(missing_ok=True)
    return True
