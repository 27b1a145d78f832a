from __future__ import annotations

import doctest
import io
import json
from dataclasses import replace
from pathlib import Path

import pytest

import minichat.licences as licences_module
from minichat.licences import Licensed, ask_once, terms_of
from minichat.manifest import Manifest
from quant.errors import UsageError

MINISTRAL = Licensed("ministral:8b", "mrl", None, "mistralai/Ministral-8B-Instruct-2410")
NOTICE = "Licensed by Mistral AI under the Mistral AI Research License"
MANIFEST = Manifest(
    "ministral", "8b", f"sha256-{'a' * 64}", 1, "q4_K_M", "llama", "v3-tekken", 1, 1, "x", "y", "z",
    repo="mistralai/Ministral-8B-Instruct-2410", licence="mrl", licence_name="Mistral AI Research License",
    notice=NOTICE,
)  # fmt: skip


class Tty(io.StringIO):
    def isatty(self) -> bool:
        return True


def terminal(monkeypatch: pytest.MonkeyPatch, typed: str = "") -> Tty:
    """A terminal for stdin, at which `typed` is typed, and for stderr. (Called in tests: pytest resets the streams.)"""
    stream = Tty()
    monkeypatch.setattr("sys.stderr", stream)
    monkeypatch.setattr("sys.stdin", Tty(typed))
    monkeypatch.setenv("TERM", "dumb")
    return stream


@pytest.mark.parametrize(
    ("licence", "name", "binds"),
    [
        ("mrl", None, True), ("MRL", None, True), ("other", "mrl", True), ("other", "mistral-research-license", True),
        ("other", "Mistral AI Research License", True), (None, "MRL-0.1", True), ("apache-2.0", None, False),
        ("other", None, False), (None, None, False), ("mit", "merle", False), ("other", "llama3", False),
    ],
)  # fmt: skip
def test_only_the_research_licence_binds(licence: str | None, name: str | None, binds: bool) -> None:
    assert (terms_of(licence, name) is not None) == binds


def test_a_free_model_asks_nothing(monkeypatch: pytest.MonkeyPatch, home: Path) -> None:
    screen = terminal(monkeypatch)
    ask_once(Licensed("demo", "apache-2.0", None, None), accepted=False)
    assert screen.getvalue() == ""
    assert list(home.iterdir()) == []


@pytest.mark.parametrize("answer", ["y\n", "YES\n", " yes \n"])
def test_a_yes_is_asked_for_once(monkeypatch: pytest.MonkeyPatch, home: Path, answer: str) -> None:
    screen = terminal(monkeypatch, answer)
    ask_once(MINISTRAL, accepted=False)
    told = screen.getvalue()
    assert "ministral:8b is under the Mistral AI Research License." in told
    assert "research without profit" in told.replace("\n", " ").replace("  ", " ")
    assert "forbids any commercial use" in told
    assert "https://mistral.ai/licenses/MRL-0.1.md" in told
    assert told.endswith("Do you accept it? [y/N] ")
    silent = terminal(monkeypatch)
    ask_once(MINISTRAL, accepted=False)
    ask_once(replace(MINISTRAL, name="ministral:8b-q8_0", repo="MistralAI/ministral-8b-instruct-2410"), accepted=False)
    assert silent.getvalue() == ""
    kept = json.loads((home / "minichat" / "licences.json").read_text())
    assert list(kept) == ["mistralai/ministral-8b-instruct-2410"]


@pytest.mark.parametrize("answer", ["n\n", "\n", "", "yesterday\n", "y" * 200 + "\n"])
def test_anything_else_is_a_no(monkeypatch: pytest.MonkeyPatch, home: Path, answer: str) -> None:
    terminal(monkeypatch, answer)
    with pytest.raises(UsageError, match=r"was not accepted, and ministral:8b is not used without"):
        ask_once(MINISTRAL, accepted=False)
    assert not (home / "minichat").exists()


def test_each_model_is_asked_for_on_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    screen = terminal(monkeypatch, "y\ny\n")
    ask_once(MINISTRAL, accepted=False)
    ask_once(Licensed("mistral-small:22b", "mrl", None, "mistralai/Mistral-Small-Instruct-2409"), accepted=False)
    assert screen.getvalue().count("[y/N]") == 2


def test_a_script_says_so_with_a_flag(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO("y\n"))
    with pytest.raises(UsageError, match="--accept-licence says that you accept it"):
        ask_once(MINISTRAL, accepted=False)
    assert capsys.readouterr() == ("", "")
    ask_once(MINISTRAL, accepted=True)
    shown = capsys.readouterr()
    assert shown.out == ""
    assert "Mistral AI Research License" in shown.err
    assert "[y/N]" not in shown.err
    ask_once(MINISTRAL, accepted=False)
    assert capsys.readouterr() == ("", "")


def test_a_model_without_a_repo_is_known_by_its_content(home: Path) -> None:
    own = Licensed.of(replace(MANIFEST, repo=None))
    ask_once(own, accepted=True)
    assert MANIFEST.blob in (home / "minichat" / "licences.json").read_text()
    ask_once(replace(own, name="another-name"), accepted=False)


@pytest.mark.parametrize("content", [b"{", b"[1]", b"\xff", b"[" * 100_000, b'{"x": NaN}', b""])
def test_a_damaged_memory_asks_again(home: Path, content: bytes) -> None:
    path = home / "minichat" / "licences.json"
    path.parent.mkdir()
    path.write_bytes(content)
    with pytest.raises(UsageError):
        ask_once(MINISTRAL, accepted=False)
    ask_once(MINISTRAL, accepted=True)
    ask_once(MINISTRAL, accepted=False)


def test_a_disk_that_cannot_be_written_is_no_obstacle(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("MINICHAT_HOME", str(tmp_path / "file" / "home"))
    ask_once(MINISTRAL, accepted=True)
    with pytest.raises(UsageError):
        ask_once(MINISTRAL, accepted=False)


def test_a_name_cannot_move_the_cursor(monkeypatch: pytest.MonkeyPatch) -> None:
    screen = terminal(monkeypatch)
    ask_once(replace(MINISTRAL, name="x\x1b[2J\ny"), accepted=True)
    assert "\x1b" not in screen.getvalue()


def test_examples() -> None:
    assert doctest.testmod(licences_module).failed == 0
