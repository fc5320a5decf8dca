"""`make down`: end the stack of a data folder, whoever started it, and what a killed one left behind."""

import signal
import time

from deploy.local.errors import StackError
from deploy.local.folder import DataFolder
from deploy.local.settings import LocalSettings
from deploy.local.stack import end_leftovers

DOWN_WITHIN_S = 60.0


def down(*, clean: bool) -> int:
    """Stop the stack of the data folder, whoever started it, and its leftovers; `clean` deletes the data too."""
    settings = LocalSettings.from_environment()
    if not settings.data_dir.exists():
        print(f"No stack in {settings.data_dir}.")
        return 0
    folder = DataFolder.open(settings.data_dir)
    was_running = False
    if not folder.claim():
        was_running = True
        keeper = next((process for process in folder.recorded() if process.name == "supervisor"), None)
        if keeper is None or not keeper.is_running():
            raise StackError(
                f"Another process holds {folder.root / 'stack.lock'} but has not said which it is yet.\n"
                "It is just starting or stopping: try again in a moment."
            )
        print("Stopping …")
        keeper.send(signal.SIGTERM)
        give_up = time.monotonic() + DOWN_WITHIN_S
        while not folder.claim():
            if time.monotonic() > give_up:
                keeper.send(signal.SIGKILL)
            time.sleep(0.1)
    was_running |= end_leftovers(folder, print)
    if clean:
        folder.remove()
        print(f"Stopped; the data in {folder.root} is deleted.")
    else:
        print("Stopped." if was_running else f"No stack was running from {folder.root}.")
    return 0
