"""The platform directory: paths, keys, and files that cannot be used."""

import base64
import os
from datetime import date
from pathlib import Path
from typing import Any

import pytest
from nacl.signing import SigningKey

from shared.federation.directory import Directory, DirectoryError, DirectoryFile, Peer, parse
from shared.federation.keys import KeyFile, PlatformKeys, SealError, add_key, seal

TODAY = date(2026, 11, 22)
PUBLIC = base64.b64encode(bytes(SigningKey(bytes(range(32))).verify_key)).decode()


def entry(code: str, **more: Any) -> dict[str, Any]:
    return {"code": code, "base_url": f"https://{code}.example", "keys": {"1": PUBLIC}} | more


TREE = [entry("460000", level=1), entry("460100"), entry("460200"), entry("460204", level=3), entry("110000", level=1)]
TREE += [entry("120000", level=1)]
PACT = {"platforms": ["110000", "120000"], "until": "2026-11-22"}


def tree(**more: Any) -> Directory:
    return parse({"platforms": TREE, "agreements": [PACT]} | more)


@pytest.mark.parametrize(
    "path",
    [
        ["460100", "460000", "460200"],
        ["460100", "460000"],
        ["460204", "460200", "460000", "460100"],
        ["110000", "120000"],
    ],
)
def test_the_tree_and_agreements_are_paths(path: list[str]) -> None:
    assert tree().objection(path, TODAY) is None


@pytest.mark.parametrize(
    "path",
    [
        ["460100", "460200"],
        ["460100", "460000", "460100"],
        ["460000", "460100", "460000"],
        ["460100"],
        ["460100", "999999"],
        ["460100", "110000"],
        ["110000", "120000", "110000"],
        ["460000", "460204"],
        ["460100", "460000", "460200", "460204", "460200"],
    ],
)
def test_anything_else_is_none(path: list[str]) -> None:
    assert tree().objection(path, TODAY)


def test_an_agreement_ends_with_its_last_day() -> None:
    assert tree().objection(["110000", "120000"], date(2026, 11, 23))


def test_a_listed_parent_goes_before_the_code() -> None:
    found = tree(platforms=[*TREE, entry("460300", parent="460100")])
    assert found.objection(["460300", "460100"], TODAY) is None
    assert found.objection(["460300", "460000"], TODAY)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ([], "platforms"),
        ({"platforms": [{"code": 46}]}, "six digits"),
        ({"platforms": [entry("460100"), entry("460100")]}, "twice"),
        ({"platforms": [entry("460100", base_url="ftp://x")]}, "base_url"),
        ({"platforms": [entry("460100", base_url="http://user@x/")]}, "base_url"),
        ({"platforms": [entry("460100", base_url="http://x:port")]}, "base_url"),
        ({"platforms": [entry("460100", keys={"1": "AAAA"})]}, "key 1"),
        ({"platforms": [entry("460100", keys={"one": PUBLIC})]}, "key one"),
        ({"platforms": [entry("460100", level="two")]}, "level"),
        ({"platforms": [entry("460100", parent="460200"), entry("460200", parent="460100")]}, "ancestor"),
        ({"platforms": [], "agreements": [{"platforms": ["1"], "until": "soon"}]}, "until"),
        ({"platforms": [], "agreements": ["all"]}, "platforms"),
    ],
)
def test_a_wrong_entry_is_named(content: Any, words: str) -> None:
    with pytest.raises(DirectoryError, match=words):
        parse(content)


@pytest.mark.parametrize(
    ("base_url", "authority"),
    [
        ("https://Sanya.Example", "sanya.example"),
        ("https://sanya.example:443/", "sanya.example"),
        ("http://sanya.example:443", "sanya.example:443"),
        ("http://[::1]:8000", "[::1]:8000"),
    ],
)
def test_the_authority_is_written_as_rfc_9421_wants_it(base_url: str, authority: str) -> None:
    assert Peer("460200", base_url=base_url).authority == authority


def test_a_file_that_turns_bad_leaves_the_last_good_one(tmp_path: Path) -> None:
    path = tmp_path / "platforms.yaml"
    file = DirectoryFile(str(path))
    path.write_text("platforms: [{code: '460100'}]")
    assert file.look()
    assert not file.look()
    path.write_text("platforms: [{code: nonsense}]")
    assert not file.look()
    assert file.current is not None
    assert set(file.current.peers) == {"460100"}
    assert "six digits" in (file.trouble or "")
    path.write_text("platforms: [{code: '460100'}, {code: '460200'}]")
    assert file.look()
    assert set(file.current.peers) == {"460100", "460200"}
    assert file.trouble is None
    os.remove(path)
    assert not file.look()
    assert len(file.current.peers) == 2


def test_what_is_sealed_is_opened_by_any_of_the_receivers_keys_and_by_nobody_else(tmp_path: Path) -> None:
    old, new, other = bytes(range(32)), bytes(range(1, 33)), bytes(32)
    keys = PlatformKeys("460200", {1: old, 2: new})
    for raw in keys.public().values():
        assert keys.open(seal(raw, b"13876540912")) == b"13876540912"
    sealed = seal(keys.public()[2], b"13876540912")
    for damaged in (b"", sealed[:-1], sealed[:-1] + bytes([sealed[-1] ^ 1]), os.urandom(100)):
        with pytest.raises(SealError):
            keys.open(damaged)
    with pytest.raises(SealError):
        PlatformKeys("460100", {1: other}).open(sealed)
    with pytest.raises(SealError):
        seal(b"no key", b"x")


def test_the_newest_published_key_signs(tmp_path: Path) -> None:
    file = KeyFile(tmp_path, "460100", make=True)
    first = file.look()
    assert first is not None
    assert (tmp_path / "platform.json").stat().st_mode & 0o777 == 0o600
    assert add_key(tmp_path / "platform.json") == 2
    both = file.look()
    assert both is not None
    published = Directory({"460100": Peer("460100", keys=first.public())})
    assert both.newest(published)[0] == "460100#1"
    assert both.newest(Directory({"460100": Peer("460100", keys=both.public())}))[0] == "460100#2"
    (tmp_path / "platform.json").write_text("{}")
    assert file.look() == both
    with pytest.raises(ValueError, match="put back"):
        KeyFile(tmp_path, "460100", make=True).look()
