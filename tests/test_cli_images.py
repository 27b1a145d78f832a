"""Pictures from the command line and from Python, with a small model that sees; its weights are random.

What it answers means nothing, but at temperature 0 it is always the same for a prompt, and another for another picture.
"""

from __future__ import annotations

import base64
import io
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from picture_files import noise, saved
from PIL import Image
from program import fails, minichat
from pseudo_terminal import Tty

from minichat import Chat
from minichat.commands.program import run as run_command
from minichat.making import NO_PROJECTOR
from quant.errors import DataError, MinichatError
from quant.types import PROJECTOR_NAMES

PICTURE = Image.fromarray(noise(60, 90, seed=1))  # 4 x 3 patches: 15 tokens
OTHER = Image.fromarray(noise(60, 90, seed=2))
OPTIONS = ["--temperature", "0", "--max-tokens", "8", "--json"]

Run = Callable[..., list[dict[str, Any]]]


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Run:
    """A command, and the JSON that it prints."""

    def told(*words: str | Path, stdin: bytes = b"") -> list[dict[str, Any]]:
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(stdin)))
        try:
            assert run_command([str(word) for word in words]) == 0
        finally:
            out = capsys.readouterr().out
        return [json.loads(line) for line in out.splitlines()]

    return told


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a.png").write_bytes(saved(PICTURE, "PNG"))
    (tmp_path / "b.webp").write_bytes(saved(PICTURE, "WEBP", lossless=True))
    (tmp_path / "other.png").write_bytes(saved(OTHER, "PNG"))
    return tmp_path


def test_a_picture_is_the_same_whatever_its_way(run: Run, seeing_gguf: Path, folder: Path) -> None:
    png = (folder / "a.png").read_bytes()
    (by_path,) = run("run", seeing_gguf, "--image", "a.png", "What?", *OPTIONS)
    assert by_path["images"] == [{"name": "a.png", "width": 90, "height": 60, "tokens": 15}]
    (piped,) = run("run", seeing_gguf, "--image", "-", "What?", *OPTIONS, stdin=png)
    url = f"data:image/png;base64,{base64.b64encode(png).decode()}"
    parts = [{"type": "image_url", "image_url": {"url": url}}, {"type": "text", "text": "What?"}]
    (folder / "talk.json").write_text(json.dumps([{"role": "user", "content": parts}]))
    (by_url,) = run("run", seeing_gguf, "--messages", "talk.json", *OPTIONS)
    same, same_too, other = run("map", seeing_gguf, "What?", "--images", "a.png", "b.webp", "other.png", *OPTIONS)
    with Chat(seeing_gguf, temperature=0, max_tokens=8) as chat:
        program = chat.say("What?", images=[png])
        assert program.text == by_path["answer"]
        assert chat.stats is not None
        assert chat.stats.pictures == 1
        assert chat.say("And?", max_tokens=1).stats.pictures == 0  # it is in the cache
    tokens = by_path["tokens"]
    assert [one["answer"] for one in (same, same_too, piped, by_url)] == [by_path["answer"]] * 4
    assert [piped["tokens"], by_url["tokens"], list(program.tokens)] == [tokens] * 3
    assert other["answer"] != same["answer"]
    assert len({one["stats"]["prompt_tokens"] for one in (by_path, piped, by_url, same, same_too, other)}) == 1


def test_another_chat_goes_on_with_messages(seeing_gguf: Path, folder: Path) -> None:
    with Chat(seeing_gguf, temperature=0, max_tokens=4) as chat:
        chat.say("What?", images=["a.png"]).text  # noqa: B018
        said = chat.messages
        answer = chat.say("And?").text
    (folder / "a.png").unlink()
    with Chat(seeing_gguf, temperature=0, max_tokens=4, messages=said) as again:
        reply = again.say("And?")
        assert (reply.text, reply.stats.pictures) == (answer, 1)


def test_a_model_that_sees_can_be_used_for_text_alone(run: Run, seeing_gguf: Path) -> None:
    (told,) = run("run", seeing_gguf, "--mmproj", "none", "What?", *OPTIONS)
    assert told["answer"]
    with pytest.raises(DataError, match="cannot see pictures"), Chat(seeing_gguf, mmproj="none") as chat:
        chat.say("What?", images=["a.png"])


def test_the_help_names_all_kinds_of_projectors() -> None:
    for command in ("convert", "pull"):
        assert "|".join([*PROJECTOR_NAMES, NO_PROJECTOR]) in minichat(command, "--help").stdout


def test_a_base_model_goes_on_behind_a_picture(run: Run, seeing_gguf: Path) -> None:
    (told,) = run("run", seeing_gguf, "--image", "a.png", "--raw", "The image shows a", *OPTIONS)
    (alone,) = run("run", seeing_gguf, "--raw", "The image shows a", *OPTIONS)
    assert told["template"] is None
    assert told["stats"]["prompt_tokens"] == alone["stats"]["prompt_tokens"] + 15
    assert told["answer"] != alone["answer"]


def test_fewer_tokens_for_a_picture(run: Run, seeing_gguf: Path, home: Path) -> None:
    (told,) = run("map", seeing_gguf, "What?", "--images", "*.webp", "--image-max-tokens", "7", *OPTIONS)
    assert (told["image"], told["image_tokens"], told["width"]) == ("b.webp", 6, 90)
    (home / "minichat").mkdir(exist_ok=True)
    (home / "minichat" / "config.toml").write_text("[defaults]\nimage-max-tokens = 7\n")
    (told,) = run("run", seeing_gguf, "--image", "b.webp", "What?", *OPTIONS)
    assert told["images"][0]["tokens"] == 6


def test_map_writes_whole_names(seeing_gguf: Path, folder: Path) -> None:
    names = [f"{first}{'a' * 90}.png" for first in ("x", "y\t\x1b[31m")]
    for name in names:
        (folder / name).write_bytes((folder / "a.png").read_bytes())
    done = minichat("map", seeing_gguf, "What?", "--images", *names, *OPTIONS[:-1])
    shown = [line.partition("\t")[0] for line in done.stdout.splitlines()]
    assert shown == [names[0], f"y\ufffd\ufffd[31m{'a' * 90}.png"]


def test_render_shows_the_tokens_of_pictures(run: Run, seeing_gguf: Path, folder: Path) -> None:
    message = {"role": "user", "content": [{"type": "image_url", "image_url": {"url": "../b.webp"}}]}
    (folder / "talks").mkdir()
    (folder / "talks" / "talk.json").write_text(json.dumps([message]))
    (told,) = run("render", seeing_gguf, "--messages", "talks/talk.json", "--json", "--image-max-tokens", "7")
    assert told["tokens"] == [1, 3, 10, 10, 12, 10, 10, 13, 4]
    assert told["text"] == "<s>[INST][IMG][IMG][IMG_BREAK][IMG][IMG][IMG_END][/INST]"


def test_what_goes_wrong_is_one_line(seeing_gguf: Path, small_gguf: Path, folder: Path, run: Run) -> None:
    (folder / "broken.png").write_bytes((folder / "a.png").read_bytes()[:5000])
    fails(3, "broken.png cannot be read as a picture", "run", seeing_gguf, "--image", "broken.png", "What?")
    mmproj = seeing_gguf.with_name("mmproj-seeing.gguf")
    for words, says in (
        (["run", small_gguf], "small.gguf cannot see pictures: it reads text alone"),
        (["run", small_gguf, "--mmproj", seeing_gguf], "is no file that a model reads pictures with"),
        (["run", small_gguf, "--mmproj", "none.gguf"], "none.gguf: no such file"),
        (["run", small_gguf, "--mmproj", mmproj], "belongs to another model"),
        (["run", seeing_gguf, "--template", "v3"], "the template v3 cannot express the image"),
        (["render", small_gguf, "--messages", "-"], "reads text alone"),
    ):
        what = ["--image", "a.png", "What?"] if words[0] == "run" else []
        message = b'[{"role": "user", "content": [{"type": "image", "image": "a.png"}]}]'
        with pytest.raises(MinichatError) as caught:
            run(*words, *what, stdin=message if words[0] == "render" else b"")
        assert says in str(caught.value)
        assert "\n" not in str(caught.value)
        assert isinstance(caught.value, DataError)
        assert caught.value.exit_code == 3


def test_a_picture_that_a_prompt_only_names_is_told(seeing_gguf: Path) -> None:
    done = minichat("run", seeing_gguf, "--max-tokens", "1", "What is @a.png?")
    assert done.returncode == 0
    assert done.stderr == "(@a.png in the prompt: sent as it stands; --image a.png attaches it)\n"


def test_a_person_sees_what_a_picture_costs(seeing_gguf: Path) -> None:
    with Tty("run", str(seeing_gguf), "--image", "a.png", "--max-tokens", "1", "What?") as tty:
        tty.wait_for("(a.png: 90 × 60 pixels, 15 tokens)")
    with Tty("run", str(seeing_gguf), "--image", "a.png") as tty:
        tty.wait_for(">>> @a.png")
        tty.wait_for("15 tokens with 1 picture")
