"""What a question brings along on the command line: pictures (--image), and the messages before it (--messages).

Both are read, and every picture's file is looked at, before a model is fetched or loaded. Whether a picture is whole is
known once it is decoded, which is while the model loads.
"""

from __future__ import annotations

import os
import re
import shlex
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from minichat.inputs import read_piped, read_text
from minichat.template.messages import Message, parse_messages
from minichat.worded import sources_in, word_of
from quant.errors import DataError, UsageError

STDIN = "-"
_PLAIN = re.compile(r"[\w./~+-]*\w")  # a name that needs no quotes behind its @


@dataclass(frozen=True)
class Given:
    """A picture of --image: what a person calls it, and the bytes of its file."""

    name: str
    content: bytes


@dataclass(frozen=True)
class Along:
    """What comes along. folder: where paths in the messages begin. takes_stdin: what standard input was read for; ""
    for nothing. has_messages: whether --messages was given, even if there is none in it.
    """

    images: tuple[Given, ...] = ()
    messages: tuple[Message, ...] = ()
    folder: Path | None = None
    takes_stdin: str = ""
    has_messages: bool = False

    @property
    def sources(self) -> list[str]:
        """Those of the messages' pictures, in order."""
        return sources_in([message.content for message in self.messages])

    @property
    def has_pictures(self) -> bool:
        return bool(self.images or self.sources)

    @property
    def has_system(self) -> bool:
        """Whether the messages bring a system prompt."""
        return any(message.role == "system" for message in self.messages)


def bring(images: Sequence[str], messages: str | None) -> Along:
    """Reads what --image and --messages name. UsageError where both want standard input; DataError for a file that is
    no picture, or cannot be read; TemplateError for messages that are none.
    """
    if [*images, messages].count(STDIN) > 1:
        raise UsageError("standard input can be read once: give the others as files")
    said: list[Message] = []
    folder = None
    if messages is not None:
        said = parse_messages(read_text(messages))
        folder = _file(messages).absolute().parent if messages != STDIN else Path()
        _look_at(said, folder)
    taken = "the picture" if STDIN in images else "the messages" if messages == STDIN else ""
    return Along(tuple(map(_given, images)), tuple(said), folder, taken, messages is not None)


@contextmanager
def placed(number: int) -> Iterator[None]:
    """Has a DataError about a picture begin with the number of its message, counted from 1."""
    try:
        yield
    except DataError as error:
        raise DataError(f"message {number}: {error}") from error


def check_form(along: Along, question: str | None, raw: bool, given: Collection[str], goes_on: bool) -> None:
    """Raises UsageError for what does not go together. question: None for a chat. given: options by their names,
    without the dashes; goes_on: whether a session does.
    """
    if along.has_messages and goes_on:
        raise UsageError("--messages is a conversation of its own: leave it out, or --continue and --session")
    if along.has_system and "system" in given:
        raise UsageError("the messages have a system prompt of their own: leave --system out")
    if not raw:
        return
    if question is None:
        raise UsageError("--raw goes on with one text: give it after MODEL, or pipe it in")
    if along.has_messages or goes_on:
        raise UsageError("--raw goes on with one text: a conversation needs a template")
    if wrong := next((name for name in ("system", "template", "tools") if name in given), None):
        raise UsageError(f"--raw shows the model nothing but the prompt: leave --{wrong} out")


def hint(prompt: str, images: Sequence[str]) -> str | None:
    """What to say of files that a prompt of one question names with @, as in a chat; None for nothing.

    images: those of --image; where there is one, the prompt may be a second picture, whose --image is missing.
    """
    if "@" not in prompt and not images:
        return None
    from minichat.attachments import is_picture, named

    words = {name: word_of(name) for name in named(prompt, Path()) if name not in images}
    if images and is_picture(_file(prompt)):
        words[prompt] = prompt
    if not words:
        return None
    pictures = [name for name in words if is_picture(_file(name))]
    ways = ["".join(f"--image {shlex.quote(name)} " for name in pictures) + "attaches it"] if pictures else []
    if (text := next((name for name in words if name not in pictures), None)) is not None:
        ways.append(f'`minichat run MODEL "…" < {shlex.quote(str(_file(text)))}` attaches it')
    return f"({', '.join(words.values())} in the prompt: sent as it stands; {', '.join(ways)})"


def as_typed(files: Sequence[str]) -> str:
    """What attaches these pictures in a chat, with a blank behind it. UsageError for what cannot be written so.

    >>> as_typed(["a.jpg", "b c.png"])
    '@a.jpg @"b c.png" '
    """
    for file in files:
        if '"' in file or not file.isprintable() or file[:5].lower() in ("data:", "file:"):
            raise UsageError(f"--image {file!r:.80}: only a file by its path can go with a chat; or give a prompt, too")
    return "".join(f"@{file} " if _PLAIN.fullmatch(file) else f'@"{file}" ' for file in files)


def _file(name: str) -> Path:
    return Path(os.path.expanduser(name))  # noqa: PTH111  (unlike Path's, it never fails)


def _given(file: str) -> Given:
    from minichat.pictures import sources

    if file == STDIN:
        name, content = "standard input", read_piped("--image -")
        sources.checked_kind(content, name)
        return Given(name, content)
    if not file:
        raise UsageError("--image: the name of the file is empty")
    return Given(sources.name_of(file), sources.bytes_of(file, Path()))


def _look_at(messages: Sequence[Message], folder: Path) -> None:
    from minichat.pictures import sources

    for number, message in enumerate(messages, start=1):
        for source in sources_in([message.content]):
            if sources.kept(source) is None:
                with placed(number):
                    sources.bytes_of(source, folder)
