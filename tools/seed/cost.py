"""What a seed costs in processor time: its own process, and PostgreSQL where that runs on this machine."""

import os
import time

import psutil

from deploy.local.folder import DataFolder
from shared.settings import Settings


class Cost:
    """CPU seconds since the last call, by process. PostgreSQL's include what else the hub lets it do meanwhile."""

    def __init__(self, settings: Settings) -> None:
        published = DataFolder(settings.data_dir).published() or {}
        self._postgres: int | None = None if settings.database_url else published.get("pids", {}).get("postgres")
        self._used = self._now()

    def spent(self) -> dict[str, float]:
        """Seconds of each since the last call or the beginning."""
        before, self._used = self._used, self._now()
        return {name: used - before[name] for name, used in self._used.items() if name in before}

    def _now(self) -> dict[str, float]:
        used = {"seed": time.process_time()}
        if self._postgres is not None and psutil.pid_exists(self._postgres):
            used["PostgreSQL"] = server_cpu_s(psutil.Process(self._postgres))
        return used


def server_cpu_s(server: psutil.Process) -> float:
    """CPU seconds that a PostgreSQL used so far, those of ended connections included."""
    own = server.cpu_times()
    total: float = own.user + own.system + own.children_user + own.children_system
    for child in server.children():
        try:
            times = child.cpu_times()
        except psutil.NoSuchProcess:
            continue
        total += times.user + times.system
    return total


def load_average() -> list[float]:
    """What else ran on the machine: a figure taken beside others is only indicative."""
    return [round(one, 1) for one in os.getloadavg()]
