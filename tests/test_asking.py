"""Pictures and messages on the command line: what goes together, and what is refused before a model is looked for."""

from __future__ import annotations

import base64
import doctest
import io
import json
import re
import sys
from pathlib import Path

import pytest
from picture_files import saved
from PIL import Image

from minichat import asking, mapped
from minichat.asking import Along, as_typed, bring, check_form, hint
from minichat.commands.program import run
from minichat.commands.variadic import spread
from minichat.mapped import picture_files
from minichat.pictures.sources import name_of
from minichat.template.messages import ImagePart, Message, TextPart
from quant.errors import DataError, TemplateError, UsageError

PNG = saved(Image.new("RGB", (40, 20), (200, 30, 40)), "PNG")


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where the test runs: with a picture in it."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "cat.png").write_bytes(PNG)
    return tmp_path


def pipe_in(monkeypatch: pytest.MonkeyPatch, raw: bytes) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(raw)))


def written(name: str, messages: object) -> str:
    Path(name).parent.mkdir(exist_ok=True)
    Path(name).write_text(json.dumps(messages))
    return name


def of_picture(url: str) -> list[object]:
    return [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": url}}]}]


def test_pictures_by_path_by_url_and_from_standard_input(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pipe_in(monkeypatch, PNG)
    url = f"data:image/png;base64,{base64.b64encode(PNG).decode()}"
    along = bring(["cat.png", f"file://{folder}/cat.png", url, "-"], None)
    assert [image.content for image in along.images] == [PNG] * 4
    assert [along.images[n].name for n in (0, 2, 3)] == ["cat.png", "picture", "standard input"]
    assert (along.takes_stdin, along.has_pictures, along.has_messages) == ("the picture", True, False)
    assert bring([], None) == Along()


def test_paths_in_messages_begin_at_their_file(folder: Path) -> None:
    file = written("talks/talk.json", of_picture("dog.png"))
    with pytest.raises(DataError, match=r"dog\.png cannot be read: No such file"):
        bring([], file)
    (folder / "talks" / "dog.png").write_bytes(PNG)
    along = bring(["cat.png"], file)
    assert (along.folder, along.sources, along.has_pictures) == (folder / "talks", ["dog.png"], True)
    assert not along.has_system


@pytest.mark.parametrize(
    ("images", "says"),
    [
        (["none.png"], r"none\.png cannot be read: No such file"),
        (["."], r"\. "),
        (["text.txt"], r"text\.txt is no picture: minichat reads JPEG, PNG, WebP and GIF"),
        (["empty.png"], r"empty\.png is empty"),
        (["https://example.org/cat.png"], r"no picture is fetched from the network; download it and give its path"),
        (["data:text/plain,hello"], r"a picture in a URL is data:image/png;base64"),
    ],
)
def test_what_is_no_picture_is_told_before_anything_else(images: list[str], says: str, folder: Path) -> None:
    (folder / "text.txt").write_text("hello")
    (folder / "empty.png").write_bytes(b"")
    with pytest.raises(DataError, match=says):
        bring(images, None)
    with pytest.raises(DataError, match=says):
        run(["run", "no-such-model", "--image", *images, "What?"])
    with pytest.raises(DataError, match=says):
        bring([], written("talk.json", of_picture(images[0])))


def test_standard_input_is_read_for_one_thing(monkeypatch: pytest.MonkeyPatch) -> None:
    pipe_in(monkeypatch, PNG)
    for images, messages in ((["-", "-"], None), (["-"], "-")):
        with pytest.raises(UsageError, match="standard input can be read once"):
            bring(images, messages)
    with pytest.raises(UsageError, match="standard input cannot be both the picture and the prompt"):
        run(["run", "no-such-model", "--image", "-", "-"])
    pipe_in(monkeypatch, b"hello")
    with pytest.raises(DataError, match="standard input is no picture"):
        bring(["-"], None)
    pipe_in(monkeypatch, b"[]")
    with pytest.raises(UsageError, match="standard input cannot be both the messages and the prompt"):
        run(["run", "no-such-model", "--messages", "-", "-"])
    pipe_in(monkeypatch, b"nonsense")
    with pytest.raises(TemplateError, match="the messages are not valid JSON"):
        bring([], "-")


def test_a_picture_that_nobody_pipes_in(monkeypatch: pytest.MonkeyPatch) -> None:
    pipe_in(monkeypatch, PNG)
    monkeypatch.setattr(sys.stdin, "isatty", lambda: True, raising=False)
    with pytest.raises(UsageError, match="--image -: pipe it in"):
        bring(["-"], None)


@pytest.mark.parametrize(
    ("along", "question", "raw", "given", "goes_on", "says"),
    [
        (Along(has_messages=True), "", False, set(), True, "--messages is a conversation of its own"),
        (Along(messages=(Message("system", "x"),)), "", False, {"system"}, False, "leave --system out"),
        (Along(), None, True, set(), False, "--raw goes on with one text: give it"),
        (Along(), "x", True, set(), True, "a conversation needs a template"),
        (Along(has_messages=True), "x", True, set(), False, "a conversation needs a template"),
        (Along(), "x", True, {"tools"}, False, "leave --tools out"),
        (Along(), "x", True, {"template"}, False, "leave --template out"),
        (Along(), "x", True, {"system"}, False, "leave --system out"),
    ],
)
def test_what_does_not_go_together(
    along: Along, question: str | None, raw: bool, given: set[str], goes_on: bool, says: str
) -> None:
    with pytest.raises(UsageError, match=says):
        check_form(along, question, raw, given, goes_on)


def test_what_goes_together() -> None:
    check_form(Along(messages=(Message("user", "x"),), has_messages=True), "", False, {"system", "top-k"}, False)
    check_form(Along(), "x", True, {"top-k", "format"}, False)
    check_form(Along(), None, False, {"system"}, True)


def test_pictures_that_a_chat_begins_with(folder: Path) -> None:
    from minichat.attachments import attach
    from minichat.pictures.album import Album

    names = ["cat.png", "my cat.png", "cat, my.png", "(cat).png", str(folder / "cat.png")]
    for name in names:
        (folder / name).write_bytes(PNG)
    with Album() as album:
        content = attach(as_typed(names) + "What?", folder, lambda path, name: album.add(str(path), name)).content
    assert isinstance(content, tuple)
    found = [part.source.partition("/")[2] for part in content if isinstance(part, ImagePart)]
    assert found == [name_of(name) for name in names]  # a long one is shortened
    assert content[-1] == TextPart("What?")
    assert as_typed([]) == ""
    for name in ("file:///cat.png", 'a"b.png', "a\nb.png", "data:image/png;base64,iVBORw0KGgo="):
        with pytest.raises(UsageError, match="only a file by its path can go with a chat"):
            as_typed([name])


def test_files_that_a_prompt_only_names(folder: Path, home: Path) -> None:
    (folder / "my notes.txt").write_text("hello")
    (folder / "b.txt").write_text("hello")
    (home / "dog.jpg").write_bytes(PNG)
    (folder / "sub").mkdir()
    as_it_stands = "in the prompt: sent as it stands"
    for prompt, images, says in (
        ("What is @cat.png?", [], f"(@cat.png {as_it_stands}; --image cat.png attaches it)"),
        ("cat.png", ["~/dog.jpg"], f"(cat.png {as_it_stands}; --image cat.png attaches it)"),
        (
            'Sum up @"my notes.txt", @b.txt, @b.txt',
            [],
            f'(@"my notes.txt", @b.txt {as_it_stands}; `minichat run MODEL "…" < \'my notes.txt\'` attaches it)',
        ),
        (
            "@~/dog.jpg @b.txt",
            [],
            f"(@~/dog.jpg, @b.txt {as_it_stands}; --image '~/dog.jpg' attaches it, "
            '`minichat run MODEL "…" < b.txt` attaches it)',
        ),
        ("What is @cat.png?", ["cat.png"], None),
        ("me@cat.png, @none.png, @sub/ and cat.png", [], None),
        ("x" * 5000, ["cat.png"], None),
        ("", [], None),
    ):
        assert hint(prompt, images) == says


def test_each_picture_has_an_image_of_its_own(folder: Path) -> None:
    with pytest.raises(UsageError, match=r"\(Differ\?\): each picture has an --image of its own"):
        run(["run", "no-such-model", "--image", "cat.png", "cat.png", "Differ?"])
    with pytest.raises(UsageError, match=r"extra argument.*\(z\) \(see minichat run --help\)"):
        run(["run", "x", "y", "z"])


def test_the_home_folder_behind_an_equals_sign(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (home / "cat.png").write_bytes(PNG)
    written(str(home / "talk.json"), of_picture("cat.png"))
    assert bring(["~/cat.png"], "~/talk.json").folder == home
    for option in ("--image=~/cat.png", "--messages=~/talk.json"):
        pipe_in(monkeypatch, b"")
        with pytest.raises(DataError, match="no-such-model"):
            run(["run", "./no-such-model.gguf", option, "What?"])


def test_a_wrong_picture_is_told_with_its_message() -> None:
    messages = of_picture("cat.png") + of_picture("data:image/png;base64,!!")
    with pytest.raises(DataError, match=r"^message 2: picture: its data is no valid base64"):
        bring([], written("talk.json", messages))


def test_a_name_that_is_empty() -> None:
    with pytest.raises(UsageError, match="--image: the name of the file is empty"):
        bring([""], None)


# map --images.


def test_the_words_behind_images_are_all_pictures() -> None:
    assert spread(["a", "--images", "b", "c", "-", "-q", "d"], "--images") == [
        *("a", "--images", "b", "--images", "c", "--images", "-", "-q", "d")
    ]
    assert spread(["--images", "b", "--", "c", "d"], "--images") == ["--images", "b", "--", "c", "d"]
    assert spread(["--images=b", "c"], "--images") == ["--images=b", "c"]
    assert spread([], "--images") == []


def test_patterns_that_the_shell_left_alone(folder: Path) -> None:
    for name in ("b.png", "a.png", "c[1].png", "sub/d.png"):
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_bytes(PNG)
    assert picture_files(["b.png", "none.png", "?.png"]) == ["b.png", "none.png", "a.png", "b.png"]
    assert picture_files(["c[1].png"]) == ["c[1].png"]
    assert picture_files(["**/d.png"]) == ["sub/d.png"]
    with pytest.raises(UsageError, match=r"--images \*\.jpg: there is no such file"):
        picture_files(["*.jpg"])


def test_words_behind_images_that_are_no_files() -> None:
    for words in (["What?"], ["Describe it."], ["cat.png", "Describe"]):
        with pytest.raises(UsageError, match=rf"--images {re.escape(words[-1])}: .* the prompt stands before --images"):
            run(["map", "no-such-model", "--images", *words])
    with pytest.raises(UsageError, match=r"--images takes files: .*--image - "):
        run(["map", "no-such-model", "What?", "--images", "-"])


def test_wrong_usage_of_map() -> None:
    with pytest.raises(UsageError, match=r'no prompt: put one in quotes behind MODEL, as in .*"Describe it."'):
        run(["map", "--images", "cat.png", "demo", "Describe it."])
    with pytest.raises(UsageError, match=r"leave \{line\} out"):
        run(["map", "no-such-model", "Say {line}", "--images", "cat.png"])
    with pytest.raises(UsageError, match="give the schema as a file"):
        run(["map", "no-such-model", "Describe it.", "--images", "cat.png", "--schema", "-"])


def test_examples() -> None:
    assert doctest.testmod(asking).failed == doctest.testmod(mapped).failed == 0
