"""What seats say: the script of a matter, and what is refused in a city's file."""

from datetime import datetime
from pathlib import Path

import pytest

from services.feedback.domain import Asking, Completion, Feedback, Round, open_round
from services.feedback.scripts import Scripts, load
from shared.city import CITIES, CityError
from shared.clock import ZONE

TEN = datetime(2026, 11, 2, 10, 0, tzinfo=ZONE)


def asked(matter: str, channel: str = "phone", *groups: str, unit: str = "水务局") -> Round:
    completion = Completion("o1", 1, "u1", True, "460105001", matter, TEN, unit, "燃气泄漏", "已修好")
    current = open_round(Feedback("a1"), Asking(channel, frozenset(groups)), completion).feedback.current
    assert current is not None
    return current


def words(scripts: Scripts, *args: str) -> str:
    return str(scripts.for_round(asked(*args))["greeting"])


def test_the_longest_matter_decides_then_the_medium() -> None:
    demo = load(CITIES / "demo")
    assert "燃气" in words(demo, "03030101")
    assert "手语" in words(demo, "01010101", "sign_video")
    assert "短信" in words(demo, "01010101", "phone", "deaf")
    plain = demo.for_round(asked("01010101"))
    assert "水务局于11月2日答复" in plain["greeting"]
    assert [question["field"] for question in plain["questions"]] == ["contacted", "solved", "satisfaction"]


def test_braces_in_the_words_of_a_unit_are_words() -> None:
    built_in = load(Path("/nowhere"))
    assert "{result.__class__}局" in built_in.for_round(asked("01", unit="{result.__class__}局"))["greeting"]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("greeting: 您好{unit.__class__}", "is none of"),
        ("greeting: 您好{phone}", "is none of"),
        ("greeting: 您好{unit!r}", "is none of"),
        ("greeting: 您好{", "braces"),
        ("greeting: ''", "length"),
        ("greetings: 您好", "unknown field"),
        ("media: [fax]", "fax"),
        ("greeting: [", "expected"),
    ],
)
def test_a_wrong_file_is_refused_with_its_fault(tmp_path: Path, text: str, said: str) -> None:
    lines = {"greeting": "您好", "contacted": "？", "solved": "？", "satisfaction": "？", "closing": "谢谢"}
    lines.pop(text.split(":")[0], None)
    body = "".join(f"    {name}: {words}\n" for name, words in lines.items())
    (tmp_path / "scripts.yaml").write_text(f"version: x\nscripts:\n  - {text}\n{body}", encoding="utf-8")
    with pytest.raises(CityError, match=said):
        load(tmp_path)
