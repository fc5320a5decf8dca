"""The key file: made once, never overwritten, refused with a remedy when it is damaged."""

from __future__ import annotations

from pathlib import Path

import orjson
import pytest

from services.intake.keys import FILE, Keys, write_new
from services.intake.vault import Vault


def test_a_key_file_is_made_once_and_kept(tmp_path: Path) -> None:
    first = Keys.load(tmp_path / "keys", make=True)
    write_new(tmp_path / "keys" / FILE)
    assert Keys.load(tmp_path / "keys", make=True) == first
    assert (tmp_path / "keys" / FILE).stat().st_mode & 0o777 == 0o600


def test_without_a_key_file_production_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"services\.intake keys"):
        Keys.load(tmp_path, make=False)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "content", [b"", b"{}", b"[]", b'{"current":"1","vault":{"1":"AA=="},"pseudonym":"","codes":""}']
)
def test_a_damaged_key_file_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / FILE).write_bytes(content)
    with pytest.raises(ValueError, match=r"intake\.json"):
        Keys.load(tmp_path, make=True)
    assert (tmp_path / FILE).read_bytes() == content


def test_a_rotated_vault_key_still_opens_what_the_old_one_sealed(tmp_path: Path) -> None:
    write_new(tmp_path / FILE)
    held = orjson.loads((tmp_path / FILE).read_bytes())
    old = Keys.load(tmp_path, make=False)
    sealed = Vault(old.vault, old.current).seal("a", {"phone": "1"})
    held["vault"]["2"] = held["codes"]
    held["current"] = "2"
    (tmp_path / FILE).write_bytes(orjson.dumps(held))
    new = Keys.load(tmp_path, make=False)
    assert Vault(new.vault, new.current).open("a", "1", sealed) == {"phone": "1"}
    assert Vault(new.vault, new.current).current == "2"
