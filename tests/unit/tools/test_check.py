"""`make check` finds what it says it finds."""

from __future__ import annotations

import sys

import pytest

from tools import check

DOMAIN = "services.sla.domain"


def sentences(source: str) -> str:
    return "\n".join(sentence for _, sentence in check.impurities(source, DOMAIN))


@pytest.mark.parametrize(
    ("source", "sentence"),
    [
        ("import sqlalchemy", "imports sqlalchemy"),
        ("from shared.clock import Clock", "imports shared.clock"),
        ("from services.intake.domain import Appeal", "imports services.intake.domain"),
        ("def f():\n    import random", "imports random; a domain has no clock, no chance"),
        ("import datetime\nx = datetime.datetime.now()", "calls .now()"),
        ("x = open('a')", "calls open()"),
        ("def f[T](x: T) -> T: ...", "cannot be read by this Python")
        if sys.version_info < (3, 12)
        else ("def f(", "cannot be read by this Python"),
    ],
)
def test_impure_domain_is_named(source: str, sentence: str) -> None:
    assert sentence in sentences(source)


def test_standard_library_and_own_package_are_welcome() -> None:
    assert not sentences("import dataclasses\nfrom services.sla.domain.clock import Clock\nfrom . import lamps")


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("path: /ro" + "ot/checkout/data.csv", "a path of one machine"),
        ("url = https://files.python" + "hosted.org/x", "the host of a package"),
        ("image: quay" + ".io/x/y:1", "the host of a package"),
        ("-----BEGIN EC PRIVATE " + "KEY-----", "a private key"),
        ("token: ey" + "J" + "a" * 20 + "." + "b" * 20 + "." + "c" * 20, "a token"),
        ("DATABASE_URL=postgresql://" + "sushu:s3cret@db/sushu", "a password in an address"),
    ],
)
def test_unwanted_text_is_named(text: str, sentence: str) -> None:
    assert sentence in "".join(found for _, found in check.unwanted(text))


def test_secret_is_not_repeated_in_the_message() -> None:
    text = "DATABASE_URL=postgresql://" + "sushu:s3cret@db/sushu"
    assert "s3cret" not in "".join(found for _, found in check.unwanted(text))


@pytest.mark.parametrize(
    "text",
    [
        "GET /v1/work-orders/{id}",
        "postgresql://user:password@host/name",
        "postgresql://$USER:$PASSWORD@db",
        "the root/ folder",
    ],
)
def test_ordinary_text_is_left_alone(text: str) -> None:
    assert not list(check.unwanted(text))


def test_unknown_part_lists_the_known_ones(capsys: pytest.CaptureFixture[str]) -> None:
    assert check.main(["spelling"]) == 2
    assert "hygiene" in capsys.readouterr().err
