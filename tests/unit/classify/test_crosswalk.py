"""Codes of one catalogue version as those of another: paths of versions, pairs, and files of pairs."""

from __future__ import annotations

import pytest

from services.classify.domain.catalogue import Catalogue, CatalogueError, HandlingClass, Kind, Matter, parse_catalogue
from services.classify.domain.crosswalk import along, codes_between, inverse, way
from services.classify.domain.labels import Candidate
from services.classify.domain.pairs import PairsError, parse_pairs
from services.classify.models.renamed import Renamed

HEADER = "code,l1,l2,l3,l4,class,kind,dimension,social,elderly,synonyms,examples"


def catalogue(version: str, **names: str) -> Catalogue:
    """Matters by code; keywords cannot begin with a digit, so each has an underscore before it."""
    matters = [
        Matter(code[1:], ("一", "二", "三", name), HandlingClass.GENERAL, Kind.COMPLAINT)
        for code, name in names.items()
    ]
    return Catalogue.of(version, matters)


OLD = catalogue("1", _01010101="路灯不亮", _01010102="停水", _01010103="停电")
NEW = catalogue("2", _01010101="路灯不亮", _01010102="欠薪", _09010101="停水停电")


def test_what_keeps_code_and_name_leads_on_and_a_reused_code_does_not() -> None:
    assert codes_between(OLD, NEW, {}) == {"01010101": "01010101"}


def test_several_old_codes_may_become_one_and_the_way_back_is_the_first() -> None:
    codes = codes_between(OLD, NEW, {"01010102": "09010101", "01010103": "09010101", "77777777": "09010101"})
    assert codes == {"01010101": "01010101", "01010102": "09010101", "01010103": "09010101"}
    assert inverse(codes) == {"01010101": "01010101", "09010101": "01010102"}


def test_versions_are_a_tree_and_lead_to_each_other_over_their_ancestors() -> None:
    steps = [("1", "2"), ("1", "3"), ("3", "4")]
    assert way(steps, "2", "4") == ["2", "1", "3", "4"]
    assert way(steps, "4", "4") == ["4"]
    assert way(steps, "4", "9") is None
    assert along([{"a": "b", "c": "d"}, {"b": "e"}]) == {"a": "e"}


class Old:
    version, labels, degraded = "m", ("01010102", "01010103", "01010101", "88888888"), False

    def classify(self, texts: list[str]) -> list[list[Candidate]]:
        first = Candidate("01010101", 0.4, ("路灯",))
        rest = [Candidate("01010102", 0.3), Candidate("01010103", 0.25), Candidate("88888888", 0.05)]
        return [[first, *rest] for _ in texts]


def test_a_model_answers_in_the_codes_of_the_new_version() -> None:
    renamed = Renamed(Old(), {"01010101": "01010101", "01010102": "09010101", "01010103": "09010101"})  # type: ignore[arg-type]
    assert renamed.labels == ("09010101", "01010101")
    (answer,) = renamed.classify(["x"])
    assert [(one.code, one.probability) for one in answer] == [("09010101", 0.55), ("01010101", 0.4)]


def test_units_and_former_codes_may_stand_in_the_file() -> None:
    line = "09010101,一,二,三,停水停电,general,complaint,,0,0,,"
    (matter,) = parse_catalogue(f"{HEADER},units,formerly\n{line},460100-water|460100-power,01010102|01010103")
    assert (matter.units, matter.formerly) == (("460100-water", "460100-power"), ("01010102", "01010103"))
    (matter,) = parse_catalogue(f"{HEADER},formerly\n{line},01010102")
    assert (matter.units, matter.formerly) == ((), ("01010102",))
    twice = f"{HEADER},formerly\n{line},01010102\n{line.replace('09010101', '09010102')},01010102|x"
    with pytest.raises(CatalogueError) as wrong:
        parse_catalogue(twice)
    assert {problem.column for problem in wrong.value.problems} == {"formerly"}


def test_a_file_of_pairs_names_its_faults() -> None:
    assert parse_pairs("\ufeffold,new\n01010101,09010101\n\n01010101,09010101\n") == {"01010101": "09010101"}
    with pytest.raises(PairsError) as wrong:
        parse_pairs("old,new\n1,09010101\n01010102,09010101,x\n01010103,09010101\n01010103,09010102\n")
    assert [error["pointer"] for error in wrong.value.errors] == ["/2/old", "/3/row", "/5/old"]
    for text in ("", "old;new", "old,new\n"):
        with pytest.raises(PairsError):
            parse_pairs(text)
