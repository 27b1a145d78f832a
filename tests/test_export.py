"""Conversations as Markdown and JSON: what they hold, and that no message gets out of its place."""

from __future__ import annotations

import json
import random
import stat
from pathlib import Path

import pytest
from markdown_it import MarkdownIt
from random_text import random_text

from minichat.export import check_file, to_json, to_markdown, write_file
from minichat.template.messages import Call, ImagePart, Message, TextPart, ThinkPart, parse_messages
from minichat.terminal.sanitize import UNSAFE
from quant.errors import DataError, StorageError, UsageError

CALL = Call("get_weather", '{"place": "Rome", "note": "```"}', "D681PevKs")
TALK = [
    Message("user", "Is it *warm* in Rome?"),
    Message("assistant", "", (1, 2), calls=(CALL, Call("now", "{}", None))),
    Message("tool", "22 ``` degrees", call_id="D681PevKs", name="get_weather"),
    Message("tool", "noon", name="now"),
    Message("assistant", (ThinkPart("Well\n```"), TextPart("Yes"), ThinkPart("Hm", closed=False))),
    Message("user", (TextPart("And this?"), ImagePart("data:image/png;base64," + "A" * 999))),
    Message("assistant", "It is\n```sh\nls", (3,), cut=True),
]
# Texts that leave something open: none of them may take in what is written below it.
OPEN = (
    "```",
    "~~~~ sh\nls\n~~~",
    "````\n```\ntext",
    "1. one\n   ```py\n   x = 1",
    "> quote\n> ```",
    "- a\n  - b\n\n    ```",
    "<!-- never closed",
    "<pre>\ntext",
    "<script>",
    "<?php",
    "<![CDATA[ x",
    "<!DOCTYPE",
    "<div>\n<!-- x",
    "text\n===\n\n| a |\n|---|\n| `b |",
    "[a]: <",
    "    code",
    "`open",
    "$$\nx",
    "* * *\n- ",
    "a\\",
    "```\n<!--\n```\n<!--",
    "\t```",
    "<textarea>\n```",
)


def headings(text: str) -> list[str]:
    tokens = MarkdownIt().parse(text)
    return [
        tokens[number + 1].content
        for number, token in enumerate(tokens)
        if token.type == "heading_open" and token.tag == "h2" and token.level == 0
    ]


def test_json_is_what_render_reads() -> None:
    back = parse_messages(to_json(TALK, "Be brief."))
    assert back[0] == Message("system", "Be brief.")
    for message, original in zip(back[1:], TALK, strict=True):
        assert (message.role, message.content, message.calls) == (original.role, original.content, original.calls)
        assert (message.call_id, message.name) == (original.call_id, original.name)


def test_json_of_random_texts_is_what_render_reads(seed: int = 5) -> None:
    rng = random.Random(seed)
    for _ in range(300):
        messages = [Message(rng.choice(("user", "assistant")), random_text(rng) + "\x1b\x9b\u202e") for _ in range(3)]
        text = to_json(messages)
        assert [message.text for message in parse_messages(text)] == [message.text for message in messages]
        assert not UNSAFE.search(text)


def test_markdown_has_a_heading_for_each_message_and_all_texts() -> None:
    text = to_markdown(TALK, "Be brief.", "Is it *warm* in Rome?")
    assert headings(text) == ["System", "You", "Model", "Tool `get_weather`", "Tool `now`", "Model", "You", "Model"]
    assert text.startswith("# Is it \\*warm\\* in Rome?\n\n## System\n\nBe brief.\n\n## You\n\nIs it *warm* in Rome?\n")
    assert text.endswith("```sh\nls\n```\n\n*(cut off)*\n")
    assert '````json\n{"place": "Rome", "note": "```"}\n````' in text
    assert "````\n22 ``` degrees\n````" in text
    assert "> Well\n> ```\n\nYes" in text
    assert len(text) < 1000  # the picture itself is left out


@pytest.mark.parametrize("text", OPEN)
def test_what_a_message_leaves_open_takes_nothing_in(text: str) -> None:
    messages = [Message("user", text), Message("assistant", text, cut=True), Message("user", "End")]
    assert headings(to_markdown(messages))[-1] == "You"
    assert sum(name in ("You", "Model") for name in headings(to_markdown(messages))) == 3


def test_random_markdown_takes_nothing_in(seed: int = 8) -> None:
    rng = random.Random(seed)
    for _ in range(400):
        pieces = [rng.choice((*OPEN, "a", "\n", "\n\n", "  ", "> ", "- ", "```\n", "</pre>", "-->")) for _ in range(6)]
        text = "".join(pieces)
        if headings(f"{text}\n"):  # a text may hold headings of its own
            continue
        shown = headings(to_markdown([Message("user", text), Message("assistant", "x")]))
        assert (shown[0], shown[-1], len(shown)) == ("You", "Model", 2), repr(text)


def test_markdown_shows_what_a_terminal_would_obey() -> None:
    hostile = "a\x1b[31m\x07\x9b\u202e\ud800"
    messages = [
        Message("user", hostile),
        Message("assistant", (ThinkPart(hostile), ImagePart(hostile)), calls=(Call(hostile, hostile),)),
        Message("tool", hostile, name=hostile),
    ]
    text = to_markdown(messages, hostile, hostile)
    assert not UNSAFE.search(text)
    text.encode()
    to_json(messages, hostile).encode()


@pytest.mark.parametrize("name", ["talk.md", "talk.MD", "talk.markdown", "talk.json"])
def test_a_file_is_written_in_the_form_of_its_ending(tmp_path: Path, name: str) -> None:
    folder = tmp_path / "exports"
    folder.mkdir()
    path = folder / name
    path.write_text("old")
    write_file(path, TALK, None, "Title")
    text = path.read_text()
    assert isinstance(json.loads(text), list) if name.endswith("json") else text.startswith("# Title")
    assert [one.name for one in folder.iterdir()] == [name]
    assert stat.S_ISREG(path.lstat().st_mode)


def test_pictures_are_files_beside_markdown(tmp_path: Path) -> None:
    kept = {"a.jpg": b"\xff\xd8\xff one", "[b].gif": b"GIF89a two", "c.png": b"\x89PNG\r\n\x1a\n three"}
    parts = tuple(map(ImagePart, ["a.jpg", "[b].gif", "a.jpg", "c.png"]))
    (tmp_path / "my talk-2.gif").write_text("another's")
    (tmp_path / "my talk-4.png").write_bytes(kept["c.png"])
    for _ in range(2):  # the same files again
        write_file(tmp_path / "my talk.md", [Message("user", (*parts, TextPart("What?")))], None, "", kept.__getitem__)
    lines = (tmp_path / "my talk.md").read_text().split("\n\n")
    one, two = "![a.jpg](my%20talk-1.jpg)", r"![\[b\].gif](my%20talk-3.gif)"
    assert lines == ["## You", one, two, one, "![c.png](my%20talk-4.png)", "What?\n"]
    found = {path.name: path.read_bytes() for path in tmp_path.iterdir() if path.name[-4:] in (".jpg", ".gif", ".png")}
    written = {"my talk-1.jpg": kept["a.jpg"], "my talk-3.gif": kept["[b].gif"], "my talk-4.png": kept["c.png"]}
    assert found == {"my talk-2.gif": b"another's", **written}


def test_a_picture_that_is_gone_is_its_name_in_markdown(tmp_path: Path) -> None:
    def gone(source: str) -> bytes:
        raise DataError(f"{source} is not kept any more")

    write_file(tmp_path / "talk.md", [Message("user", (ImagePart("a.png"),))], None, "", gone)
    assert (tmp_path / "talk.md").read_text() == "## You\n\n(a picture: `a.png`)\n"


def test_a_file_that_cannot_be_is_refused(tmp_path: Path) -> None:
    for name in ("talk", "talk.txt", "talk.md.gz", ".md"):
        with pytest.raises(UsageError, match="in what form"):
            check_file(tmp_path / name)
    with pytest.raises(StorageError):
        check_file(tmp_path / "nowhere" / "talk.md")
    (tmp_path / "folder.md").mkdir()
    with pytest.raises(StorageError):
        write_file(tmp_path / "folder.md", TALK, None)


def test_a_failed_write_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "exports"
    folder.mkdir()
    path = folder / "talk.md"
    path.write_text("old")

    def failing(handle: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", failing)
    with pytest.raises(StorageError):
        write_file(path, TALK, None)
    assert path.read_text() == "old"
    assert [one.name for one in folder.iterdir()] == ["talk.md"]
