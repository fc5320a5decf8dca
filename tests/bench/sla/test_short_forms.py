"""The benches of deadlines in their shortest forms: they run, and what they judge holds. No figure is asserted."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.bench import deadlines, outage, what_if
from tests.bench.server import Server, kept_folder, postgres


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with kept_folder({}, "short-forms") as folder, postgres(folder) as running:
        yield running


def test_an_outage_of_six_hours_fires_the_unmet_half_in_one_digest_each(server: Server, tmp_path: Path) -> None:
    found = outage.run(server, tmp_path, 600, seed=7)
    assert (found["wrong"], found["met_in_time"], found["unmet_that_fired"]) == ({}, 300, 300)
    assert found["digests"] == found["supervisors_with_a_digest"] > 0


def test_what_if_tells_every_deadline_that_moves_and_changes_nothing(server: Server, tmp_path: Path) -> None:
    found = what_if.run(server, tmp_path, 400, seed=7)
    assert (found["wrong"], found["nothing_changed"]) == ({}, True)
    assert found["moved"] > 100


def test_the_command_agrees_with_the_walk_over_minutes() -> None:
    assert deadlines.run(500, seed=7)["different"] == 0
