"""Which template a model is talked to with."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from fake_engine import INFO
from test_reports import MANIFEST

from minichat.conversation import EMBEDDED
from minichat.engine.types import ModelInfo
from minichat.models import Model
from minichat.template import VERSIONS
from minichat.templates import check_template, check_tools, describe_choice, template_of
from quant.errors import DataError, UsageError

MODEL = Model("mine", Path("mine.gguf"))


def info(how: str, template: str | None = None) -> ModelInfo:
    return replace(INFO, template=template, template_how=how, template_why="because of this")


def test_what_the_file_recorded_or_shows() -> None:
    assert template_of(MODEL, info("recorded", "v3"), None) == "v3"
    assert template_of(MODEL, info("told", "v11"), None) == "v11"
    assert template_of(MODEL, info("base"), None) is None
    assert template_of(MODEL, info("embedded"), None) == EMBEDDED


@pytest.mark.parametrize("how", ["recorded", "told", "base", "embedded", "unknown"])
def test_a_choice_is_over_everything(how: str) -> None:
    assert template_of(MODEL, info(how), "v13") == "v13"
    with pytest.raises(UsageError, match="v99"):
        template_of(MODEL, info(how), "v99")


def test_what_cannot_be_told_is_refused() -> None:
    with pytest.raises(DataError, match=r"because of this.*--template names it: v1, v2"):
        template_of(MODEL, info("unknown"), None)
    with pytest.raises(DataError, match="wants the template 'v15'"):
        template_of(MODEL, info("recorded", "v15"), None)


def test_the_catalog_knows_what_a_file_does_not_tell() -> None:
    known = replace(MODEL, manifest=replace(MANIFEST, template="v7-tekken"))
    for how in ("told", "base", "embedded", "unknown"):
        assert template_of(known, info(how, "v3" if how == "told" else None), None) == "v7-tekken"
    assert template_of(known, info("recorded", "v3"), None) == "v3"


def test_tools_need_a_template_with_them() -> None:
    for version in VERSIONS.keys() - {"v1"}:
        check_tools(version)
    for without in ("v1", EMBEDDED, None):
        with pytest.raises(UsageError, match="--tools"):
            check_tools(without)


def test_a_template_of_another_family_is_told() -> None:
    for in_chat in (True, False):
        told = describe_choice(EMBEDDED, info("embedded"), in_chat)
        assert told is not None
        assert "because of this" in told
    assert describe_choice(None, info("base"), in_chat=False) is None
    assert "continues" in (describe_choice(None, info("base"), in_chat=True) or "")
    assert describe_choice("v3", info("told", "v3"), in_chat=True) is None


def test_names() -> None:
    assert check_template("v7-tekken") == "v7-tekken"
    with pytest.raises(UsageError, match="one of v1, v2, v3"):
        check_template("V7")
