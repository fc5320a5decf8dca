"""What a file is, what it is called, and how it lies in a store."""

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from services.intake.attachments.kinds import ACCEPTED, kind_of, plain_name
from services.intake.attachments.sealing import PIECE, Damaged, Sealer
from services.intake.attachments.stores import Folder, Missing, open_store
from services.intake.settings import Limits
from shared.city import City, CityError
from shared.ids import uuid7
from shared.settings import Settings
from tests.integration.intake.files import REFUSED, TAKEN

KEYS = {"1": bytes(32), "2": bytes([1]) * 32}
SEALER = Sealer(KEYS, "1")


async def parts(data: bytes, size: int = 10_000) -> AsyncIterator[bytes]:
    for start in range(0, len(data), size):
        yield data[start : start + size]


async def whole(stream: AsyncIterator[bytes]) -> bytes:
    return b"".join([part async for part in stream])


def test_every_kind_that_is_taken_is_known_by_its_content() -> None:
    assert {kind: kind_of(head) for kind, head in TAKEN.items()} == {kind: kind for kind in ACCEPTED}


@pytest.mark.parametrize("what", REFUSED)
def test_what_a_browser_runs_or_a_program_unpacks_is_not_taken(what: str) -> None:
    assert kind_of(REFUSED[what]) is None


@pytest.mark.parametrize(
    ("given", "kind", "expected"),
    [
        ("现场 照片.jpg", "image/jpeg", "现场 照片.jpg"),
        ("../../etc/passwd", "image/jpeg", "passwd.jpg"),
        ("C:\\temp\\a.html", "image/png", "a.png"),
        ('a"\r\nSet-Cookie: x=1.jpg', "image/jpeg", "aSet-Cookie x=1.jpg"),
        ("", "application/pdf", "附件.pdf"),
        (None, "application/pdf", "附件.pdf"),
        ("...", "image/jpeg", "附件.jpg"),
        ("照" * 255, "image/jpeg", "照" * 100 + ".jpg"),
        ("x" * 251 + ".jpg", "image/jpeg", "x" * 100 + ".jpg"),
    ],
)
def test_a_name_has_no_folders_and_the_suffix_of_its_kind(given: str | None, kind: str, expected: str) -> None:
    assert plain_name(given, kind) == expected


@pytest.mark.parametrize("size", [0, 1, PIECE - 1, PIECE, PIECE + 1, 3 * PIECE])
async def test_what_is_sealed_opens_to_the_same_bytes(size: int) -> None:
    data = bytes(index % 251 for index in range(size))
    sealed = await whole(SEALER.seal("a", parts(data)))
    assert data[:50] not in sealed or size < 4
    assert await whole(SEALER.open("a", "1", parts(sealed, 777))) == data


async def test_what_was_changed_cut_swapped_or_is_anothers_does_not_open() -> None:
    data = bytes(3 * PIECE)
    sealed = await whole(SEALER.seal("a", parts(data)))
    piece = PIECE + 17
    swapped = sealed[:24] + sealed[24 + piece : 24 + 2 * piece] + sealed[24 : 24 + piece] + sealed[24 + 2 * piece :]
    for wrong in (sealed[:-1], sealed[: 24 + piece], sealed[:24], b"", sealed[:-1] + b"\x00", swapped):
        with pytest.raises(Damaged):
            await whole(SEALER.open("a", "1", parts(wrong)))
    for name, key in (("b", "1"), ("a", "2"), ("a", "gone")):
        with pytest.raises(Damaged):
            await whole(SEALER.open(name, key, parts(sealed)))


async def test_a_folder_keeps_files_and_forgets_what_was_not_finished(tmp_path: Path) -> None:
    folder, name = Folder(tmp_path / "files"), uuid7()
    await folder.write(name, parts(b"x" * 30_000))
    assert await whole(folder.read(name)) == b"x" * 30_000
    assert _modes(tmp_path) == [0o600]

    async def broken() -> AsyncIterator[bytes]:
        yield b"y"
        raise ConnectionError

    with pytest.raises(ConnectionError):
        await folder.write(uuid7(), broken())
    later = datetime.now(UTC) + timedelta(seconds=5)
    assert [found async for found in folder.older_than(later)] == [name], "nothing of the broken one"
    assert [found async for found in folder.older_than(later - timedelta(hours=1))] == []
    await folder.delete(name)
    await folder.delete(name)
    with pytest.raises(Missing):
        await whole(folder.read(name))


def _modes(root: Path) -> list[int]:
    return [path.stat().st_mode & 0o777 for path in root.glob("files/??/*")]


def test_production_takes_no_files_into_a_folder_that_goes_with_the_process(tmp_path: Path) -> None:
    live = {"env": "production", "jwks_url": "https://id.example/jwks", "jwt_issuer": "https://id.example"}
    assert open_store(Settings.model_validate(live)) is None
    assert isinstance(open_store(Settings.model_validate(live | {"files": str(tmp_path)})), Folder)
    assert isinstance(open_store(Settings(data_dir=tmp_path)), Folder)
    with pytest.raises(ValueError, match="names no bucket"):
        open_store(Settings(files="s3://"))


@pytest.mark.parametrize("wrong", [{"max_bytes": 0}, {"max_bytes": 10**9}, {"per_appeal": "20"}, {"most": 1}])
def test_limits_that_cannot_be_are_refused(wrong: dict[str, object]) -> None:
    def city(given: object) -> City:
        return City(Path(), "1", "medium", 0.8, 0.95, 20, {"intake": {"attachments": given}})

    with pytest.raises(CityError, match="intake/attachments"):
        Limits.of(city(wrong))
    assert Limits.of(city({"per_appeal": 3})).per_appeal == 3
    assert Limits.of(city(None)) == Limits()
