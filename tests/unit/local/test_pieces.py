"""The small pieces of the local stacks that need no server."""

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
import yaml

from deploy.local import ports
from deploy.local.demo.people import places, sentences
from deploy.local.errors import StackError
from deploy.local.folder import DataFolder
from deploy.local.process import Identity, end_all, services_of
from deploy.local.routes import TABLE, in_process_routes, local_routes
from deploy.local.settings import LocalSettings


@pytest.fixture(autouse=True)
def _no_variables_of_the_caller(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in list(os.environ):
        if name.startswith("SUSHU_") or name in ("DATABASE_URL", "KAFKA_BOOTSTRAP_SERVERS"):
            monkeypatch.delenv(name)


@pytest.mark.parametrize(
    ("variables", "broker", "controller"),
    [
        ({}, 9092, 8002),
        ({"SUSHU_PORT": "8100"}, 8101, 8102),
        ({"SUSHU_PORT": "8100", "SUSHU_KAFKA_PORT": "9500"}, 9500, 8102),
    ],
)
def test_kafka_ports_follow_the_base_port(
    monkeypatch: pytest.MonkeyPatch, variables: dict[str, str], broker: int, controller: int
) -> None:
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    settings = LocalSettings.from_environment()
    assert (settings.broker_port, settings.controller_port) == (broker, controller)


@pytest.mark.parametrize(("name", "value"), [("SUSHU_PORT", "abc"), ("SUSHU_PORT", "0"), ("SUSHU_PLATFORM", "haikou")])
def test_bad_variable_is_named(monkeypatch: pytest.MonkeyPatch, name: str, value: str) -> None:
    monkeypatch.setenv(name, value)
    with pytest.raises(StackError, match=f"{name}='{value}'"):
        LocalSettings.from_environment()


@pytest.mark.parametrize(
    ("name", "value"), [("SUSHU_PLATFORM", "110100"), ("SUSHU_PLATFORM", "999999"), ("SUSHU_CITY", "/nowhere")]
)
def test_city_that_is_not_there_is_named_before_anything_is_made(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str
) -> None:
    monkeypatch.setenv(name, value)
    with pytest.raises(StackError, match=value):
        LocalSettings.from_environment().require_city()


def test_cities_and_municipalities_can_be_platforms(monkeypatch: pytest.MonkeyPatch) -> None:
    for code in ("460100", "440300", "110000"):
        monkeypatch.setenv("SUSHU_PLATFORM", code)
        LocalSettings.from_environment().require_city()


def test_directory_and_keys_are_found_from_any_working_directory(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SUSHU_PLATFORMS", "platforms.yaml")
    monkeypatch.setenv("SUSHU_KEY_DIR", "keys")
    settings = LocalSettings.from_environment()
    assert (settings.platforms, settings.keys) == (str(tmp_path / "platforms.yaml"), tmp_path / "keys")


def test_folder_that_cannot_be_made_says_so(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StackError, match="SUSHU_DATA_DIR"):
        DataFolder.open(tmp_path / "file" / "data")


def test_every_segment_belongs_to_one_service() -> None:
    table = yaml.safe_load(TABLE.read_text(encoding="utf-8"))["services"]
    routes = local_routes(table)
    prefixes = [prefix for served in routes for prefix in served.prefixes]
    assert len(prefixes) == len(set(prefixes))
    segments, paths = in_process_routes(["intake", "dispatch"])
    assert (segments["work-orders"], segments["tokens"], paths["/open311"]) == ("dispatch", "intake", "intake")
    assert "hot-events" not in segments


def test_foreign_folder_stays_untouched(tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("mine")
    with pytest.raises(StackError, match="SUSHU_DATA_DIR"):
        DataFolder.open(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.txt"]


def test_folder_of_another_format_says_so(tmp_path: Path) -> None:
    (tmp_path / "sushu.json").write_text(json.dumps({"format": 99}))
    with pytest.raises(StackError, match="format 99"):
        DataFolder.open(tmp_path)


def test_folder_is_claimed_once_and_private(tmp_path: Path) -> None:
    first, second = DataFolder.open(tmp_path / "data"), DataFolder.open(tmp_path / "data")
    assert first.claim()
    assert not second.claim()
    first.publish({"base_url": "http://127.0.0.1:1"})
    assert (tmp_path / "data" / "stack.json").stat().st_mode & 0o777 == 0o600
    assert second.published() == {"base_url": "http://127.0.0.1:1"}
    first.release()
    assert second.claim()


def test_leftover_is_ended_and_a_stranger_with_its_pid_is_not() -> None:
    sleeper = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
    try:
        known = Identity.of("sleeper", sleeper.pid)
        assert known is not None
        stranger = Identity("sleeper", sleeper.pid, known.started - 3600, known.command)
        other = Identity("sleeper", sleeper.pid, known.started, "/usr/bin/another program")
        assert end_all([stranger, other]) == []
        assert sleeper.poll() is None
        assert end_all([Identity.from_json(known.to_json())]) == [known]
        assert sleeper.wait(timeout=5) != 0
    finally:
        sleeper.kill()
        sleeper.wait()


def test_process_that_ignores_sigterm_is_killed() -> None:
    stubborn = subprocess.Popen(
        [
            sys.executable,
            "-c",
            "import signal,time; signal.signal(15, signal.SIG_IGN); print(flush=True); time.sleep(60)",
        ],
        stdout=subprocess.PIPE,
    )
    assert stubborn.stdout is not None
    stubborn.stdout.readline()
    known = Identity.of("stubborn", stubborn.pid)
    assert known is not None
    began = time.monotonic()
    end_all([known], patience_s=0.3)
    assert stubborn.wait(timeout=5) == -9
    assert time.monotonic() - began < 5


def test_busy_port_names_the_variable_that_moves_it() -> None:
    import socket

    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(StackError, match="SUSHU_PORT="):
            ports.require_free(port, "SUSHU_PORT", "the base URL")
    with pytest.raises(StackError, match="no address of this machine"):
        ports.require_free(8000, "SUSHU_PORT", "the base URL", "192.0.2.1")


def test_demo_has_many_sentences_and_places_of_the_platform() -> None:
    templates = sentences()
    assert len(templates) >= 60
    assert len(set(templates)) == len(templates)
    assert all(template.count("{place}") == 1 and template.format(place="某街道") for template in templates)
    found = places("460100")
    assert len(found) > 30
    assert all(code.startswith("4601") for code, _ in found)


def test_a_service_that_was_never_recorded_is_found_by_its_data_folder(tmp_path: Path) -> None:
    package = tmp_path / "services"
    package.mkdir()
    (package / "rain.py").write_text("import time\ntime.sleep(60)\n")
    environment = {**os.environ, "SUSHU_DATA_DIR": str(tmp_path / "data")}
    orphan = subprocess.Popen([sys.executable, "-m", "services.rain"], cwd=tmp_path, env=environment)
    try:
        deadline = time.monotonic() + 10
        while not services_of(str(tmp_path / "data")) and time.monotonic() < deadline:
            time.sleep(0.05)
        assert [(found.name, found.pid) for found in services_of(str(tmp_path / "data"))] == [("rain", orphan.pid)]
        assert services_of(str(tmp_path / "another")) == []
    finally:
        orphan.kill()
        orphan.wait()
