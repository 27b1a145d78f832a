"""What `minichat map` answers, one after the other: lines of a text, or pictures.

`Mapped` is what the two have in common; `minichat.mapping` does the work on either.
"""

from __future__ import annotations

import glob
import os
import re
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from minichat.inputs import Line, Lines
from minichat.template.pieces import Image
from quant.errors import DataError, UsageError

if TYPE_CHECKING:
    from minichat.chat import RunOptions
    from minichat.conversation import Conversation
    from minichat.engine.client import Engine
    from minichat.results import Record
    from minichat.sight import Sight
    from minichat.template.pieces import Piece


class Mapped(ABC):
    """A sequence of lines, each of which is to be answered.

    noun: what one of them is called. total_bytes: of all of them, None where that is not known; read_bytes: of those
    that were taken so far.
    """

    noun = "line"
    total_bytes: int | None
    read_bytes: int

    @abstractmethod
    def __iter__(self) -> Iterator[Line]:
        """The lines in their order. Of a picture, the text is its name."""

    @abstractmethod
    def known(self, line: Line) -> Record:
        """What is told of a line before its answer."""

    @abstractmethod
    def ask(self, line: Line, conversation: Conversation, engine: Engine) -> Record:
        """Asks the line's question; what else is told of the line then. engine: the one that is to answer, loaded.

        Raises DataError for one that cannot be asked.
        """

    @abstractmethod
    def sample(self, conversation: Conversation) -> list[Piece]:
        """A prompt as short as one of these can be. Raises TemplateError."""

    @abstractmethod
    def made_with(self) -> dict[str, Any]:
        """What all answers have in common."""

    def place(self, line: Line) -> str:
        """Which of them it is, in words."""
        return f"{self.noun} {line.number}"

    def shown(self, answer: str, line: Line) -> str:  # noqa: ARG002
        """An answer, which is one line, as it stands in a list of them."""
        return answer

    def forget(self) -> None:  # noqa: B027
        """The line that was asked last is done with."""


@dataclass(frozen=True)
class LinePrompt:
    """A prompt with places for a line: {line}, or {} where there is no {line}."""

    text: str
    place: str

    @classmethod
    def parse(cls, text: str) -> LinePrompt:
        """Raises UsageError for a text without a place."""
        place = next((place for place in ("{line}", "{}") if place in text), None)
        if place is None:
            raise UsageError("the prompt has no place for the line: write {line} there, in quotes for the shell")
        return cls(text, place)

    def fill(self, line: str) -> str:
        """
        >>> LinePrompt.parse("Translate: {line}").fill("{}"), LinePrompt.parse("{}, {}").fill("a")
        ('Translate: {}', 'a, a')
        """
        return self.text.replace(self.place, line)


class MappedLines(Mapped):
    """Lines of standard input, each in the place that a prompt has for it."""

    def __init__(self, prompt: LinePrompt, lines: Lines) -> None:
        self._prompt, self._lines = prompt, lines
        self.total_bytes, self.read_bytes = lines.total_bytes, 0

    def __iter__(self) -> Iterator[Line]:
        for line in self._lines:
            self.read_bytes = self._lines.read_bytes
            yield line

    def known(self, line: Line) -> Record:
        return {"line": line.number, "input": line.text}

    def ask(self, line: Line, conversation: Conversation, engine: Engine) -> Record:  # noqa: ARG002
        if line.text is None:
            raise DataError("longer than any model reads")
        conversation.ask(self._prompt.fill(line.text))
        return {}

    def sample(self, conversation: Conversation) -> list[Piece]:
        conversation.ask(self._prompt.fill("x"))
        return conversation.pieces()

    def made_with(self) -> dict[str, Any]:
        return {"prompt": self._prompt.text}


class MappedPictures(Mapped):
    """Pictures by the names of their files, each with the same prompt behind it."""

    noun = "picture"

    def __init__(self, prompt: str, files: Sequence[str], sight: Sight, options: RunOptions) -> None:
        self._prompt, self._files, self._sight, self._options = prompt, files, sight, options
        self.total_bytes, self.read_bytes = sum(map(_size, files)), 0
        self._source = ""  # of the one under way

    def __iter__(self) -> Iterator[Line]:
        for number, file in enumerate(self._files, start=1):
            self.read_bytes += _size(file)
            yield Line(number, file)

    def known(self, line: Line) -> Record:
        return {"line": line.number, "image": line.text}

    def ask(self, line: Line, conversation: Conversation, engine: Engine) -> Record:
        self._source = self._sight.add(line.text or "").source
        conversation.ask(self._prompt, [self._source])
        picture = self._sight.for_engine(self._sight.model, engine)(self._source)
        return {"width": picture.width, "height": picture.height, "image_tokens": picture.tokens}

    def sample(self, conversation: Conversation) -> list[Piece]:
        conversation.ask(self._prompt, ["picture"])
        return [piece for piece in conversation.pieces() if not isinstance(piece, Image)]

    def made_with(self) -> dict[str, Any]:
        return {"images": True, "prompt": self._prompt, "image-max-tokens": self._options.image_max_tokens}

    def place(self, line: Line) -> str:
        from minichat.pictures.sources import on_one_line

        return on_one_line(line.text or "")

    def shown(self, answer: str, line: Line) -> str:
        return f"{self.place(line)}\t{answer}"

    def forget(self) -> None:
        self._sight.forget(self._source)


def picture_files(words: Sequence[str]) -> list[str]:
    """The files that --images names: as they stand, or those that a pattern fits which the shell has left as it is.

    Raises UsageError for a pattern that fits none, and for what is meant as a prompt or as standard input. Whether a
    file is there, and a picture, is for its turn to tell.
    """
    files: list[str] = []
    for word in words:
        path = os.path.expanduser(word)  # noqa: PTH111  (unlike Path's, it never fails)
        if word == "-":
            raise UsageError('--images takes files: `minichat run MODEL --image - "What is this?" < FILE` reads one')
        if os.path.lexists(path):
            files.append(word)
            continue
        if _is_prompt(word):
            raise UsageError(
                f"--images {word}: there is no such file; the prompt stands before --images, as in "
                '`minichat map MODEL "Describe it." --images *.jpg`'
            )
        if not glob.has_magic(path):
            files.append(word)
            continue
        found = sorted(glob.glob(path, recursive=True))  # noqa: PTH207  (it keeps names as they were written)
        if not found:
            raise UsageError(f"--images {word}: there is no such file")
        files += found
    return files


def _is_prompt(word: str) -> bool:
    """Whether words that name no file are meant as a prompt.

    >>> [_is_prompt(word) for word in ("What?", "Describe it.", "Describe", "my cat.png", "*.png", "out/x y", "IMG_1")]
    [True, True, True, False, False, False, False]
    """
    is_name = re.search(r"[/\\]|\.\w{1,5}$", word) is not None
    return not is_name and (word.isalpha() or word.endswith("?") or re.search(r"\s", word) is not None)


def _size(file: str) -> int:
    try:
        return Path(file).expanduser().stat().st_size
    except (OSError, RuntimeError, ValueError):
        return 0
