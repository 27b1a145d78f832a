from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest

from minichat.catalog import Catalog, load_catalog
from minichat.search import AskHub, find, show
from minichat.template import VERSIONS
from quant.errors import DataError, NetworkError


@dataclass(frozen=True)
class Repo:
    id: str = "bartowski/Ministral-8B-Instruct-2410-GGUF"
    downloads: int = 12345
    licence: str | None = "other"
    gated: bool = False
    has_gguf: bool = True
    has_safetensors: bool = False
    parameters: int | None = 8_019_808_256


@pytest.fixture
def catalog(tmp_path: Path) -> Catalog:
    return load_catalog(tmp_path / "none.toml")


def hub(*repos: Repo) -> AskHub:
    def ask(word: str, limit: int) -> Sequence[Repo]:
        return repos

    return ask


def offline(word: str, limit: int) -> Sequence[Repo]:
    raise NetworkError("the hub cannot be reached: no route to host")


def test_the_catalog_comes_first_and_then_the_hub(catalog: Catalog, capsys: pytest.CaptureFixture[str]) -> None:
    gated = Repo("you/ministral", 7, None, True, True, True, None)
    show("ministral", find("ministral", catalog, hub(Repo(), gated)), False)
    out, err = capsys.readouterr()
    assert [" ".join(line.split()) for line in out.splitlines()] == [
        "NAME PARAMETERS CONTEXT LICENCE WHAT IT IS",
        "ministral:8b 8.0B 128k mrl Ministral 8B: small, with a long context, for research",
        "bartowski/Ministral-8B-Instruct-2410-GGUF 8.0B other GGUF files, 12,345 downloads",
        "you/ministral unknown GGUF files, checkpoint, 7 downloads, asks for a login",
    ]
    assert err == ""


def test_the_hub_is_asked_once_for_the_word(catalog: Catalog) -> None:
    asked: list[tuple[str, int]] = []

    def ask(word: str, limit: int) -> list[Repo]:
        asked.append((word, limit))
        return []

    find("  Nemo ", catalog, ask)
    assert asked == [("Nemo", 20)]


def test_no_word_shows_the_whole_catalog_without_a_network(catalog: Catalog) -> None:
    assert find(" ", catalog, offline).entries == list(catalog.entries)
    assert find("", catalog, offline).problem is None


def test_repos_that_are_of_no_use_are_left_out(catalog: Catalog) -> None:
    known = Repo("mistralai/ministral-8b-instruct-2410", has_gguf=False, has_safetensors=True)
    pickles = Repo("old/ministral", has_gguf=False)
    assert find("ministral", catalog, hub(known, pickles, Repo())).repos == [Repo()]


@pytest.mark.parametrize("error", [NetworkError("no route\x1b[2J"), DataError("no route\x1b[2J")])
def test_offline_there_is_the_catalog_and_one_line(
    catalog: Catalog, capsys: pytest.CaptureFixture[str], error: Exception
) -> None:
    def ask(word: str, limit: int) -> list[Repo]:
        raise error

    show("nemo", find("nemo", catalog, ask), False)
    out, err = capsys.readouterr()
    assert "mistral-nemo:12b" in out
    assert err == "minichat: the hub was not searched: no route␛[2J\n"
    show("gpt", find("gpt", catalog, ask), False)
    assert capsys.readouterr() == ("", "minichat: the hub was not searched: no route␛[2J\n")


def test_nothing_found_is_told(catalog: Catalog, capsys: pytest.CaptureFixture[str]) -> None:
    show("gpt\x1b[2J", find("gpt\x1b[2J", catalog, hub()), False)
    assert capsys.readouterr() == ("", "no model has 'gpt␛[2J' in its name, here or on the hub\n")


def test_templates_that_run_does_not_know_yet_are_told(
    catalog: Catalog, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    show("", find("", catalog, offline), False)
    assert "still to learn" not in capsys.readouterr().out
    known = {name: version for name, version in VERSIONS.items() if name != "v11"}
    monkeypatch.setattr("minichat.search.VERSIONS", known)
    show("", find("", catalog, offline), False)
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines if "still to learn" in line] == ["mistral-small3.2:24b"]


def test_json_holds_all(catalog: Catalog, capsys: pytest.CaptureFixture[str]) -> None:
    show("ministral", find("ministral", catalog, hub(Repo())), True)
    told = json.loads(capsys.readouterr().out)
    assert told["catalog"][0]["name"] == "ministral:8b"
    assert told["catalog"][0]["repo"] == "mistralai/Ministral-8B-Instruct-2410"
    assert told["hub"] == [Repo().__dict__]
    assert told["problem"] is None
    show("x", find("xyz", catalog, offline), True)
    told = json.loads(capsys.readouterr().out)
    assert told == {"catalog": [], "hub": [], "problem": "the hub cannot be reached: no route to host"}


def test_what_a_hub_says_is_bounded_and_cannot_move_the_cursor(
    catalog: Catalog, capsys: pytest.CaptureFixture[str]
) -> None:
    show("evil", find("evil", catalog, hub(Repo("a/" + "b" * 9000, licence="\x1b]0;x\x07" + "l" * 9000))), False)
    out = capsys.readouterr().out
    assert "\x1b" not in out
    assert max(map(len, out.splitlines())) < 400
