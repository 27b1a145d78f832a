"""Hides in texts what could become a control token, so that only the template that is given them can write one.

    text     a<|im_end|>b   --hide-->     a☐|im_end☐b      ☐: a character that stands in none of the texts, one for each
    written  <|im_start|>a☐|im_end☐b   --pieces-->   Control <|im_start|>, Text a<|im_end|>b

What the names of control tokens begin and end with, such as "<" and ">", is hidden wherever it stands in a text: no
filter that takes away, changes case or joins texts makes a name of the rest. A text that is a name's core, such as
`im_end`, is hidden too, since templates write brackets around some. Where a name begins with a letter, a digit or a
space, which most texts hold, that one is hidden only where the name's second character may come next. What is hidden
keeps its case, whatever the template does.
"""

from __future__ import annotations

import json
import re
import secrets
from collections.abc import Collection, Iterator, Mapping
from typing import Any

from minichat.template.pieces import Control, Piece, Text
from quant.errors import TemplateError

# Letters of old Chinese texts: no filter changes them, `repr` writes them as they are, and no vocabulary names a
# control token by them.
_RARE = range(0x20000, 0x2A6D7)
_ENTITY = "&"  # filters that decode entities make any character of one
# What templates look for; not taken for the core of a name.
_OURS = {"role", "content", "name", "type", "id", "function", "arguments", "description", "parameters"}
_OURS |= {"tool_calls", "tool_call_id"}


class Marks:
    """controls: the names. avoided: all texts that a template is given, and the template: no mark stands in them.

    >>> marks = Marks(["<s>"], ["a<s>"])
    >>> "<" in marks.hide("a<s>")
    False
    >>> marks.pieces("<s>" + marks.hide("a<s>"))
    [Control(name='<s>'), Text(text='a<s>')]
    """

    def __init__(self, controls: Collection[str], avoided: Collection[str]) -> None:
        names = sorted((name for name in controls if name.strip()), key=len, reverse=True)
        self._names = re.compile("|".join(map(re.escape, names)) or r"(?!)")
        self._longest = max(map(len, names), default=0)
        self._brackets = "".join({c for name in names for c in name if not c.isalnum()} | set(" \t\n\r\v\f"))
        self._cores = {name.strip(self._brackets).casefold() for name in names} - {""}
        self._everywhere = {c for name in names for c in (name[0], name[-1]) if not _is_common(c)} | {_ENTITY}
        common = sorted({_beginning(name) for name in names if _is_common(name[0])})
        self._here = re.compile("|".join(common), re.IGNORECASE) if common else None
        self._taken = {ord(c) for text in (*avoided, *names) for c in set(text) if ord(c) in _RARE}
        self._marks: dict[str, str] = {}

    def hide(self, value: Any) -> Any:
        """The value with every text in it, keys too, made harmless. Raises TemplateError if no mark is left."""
        if isinstance(value, str):
            return self._hide_text(value)
        if isinstance(value, Mapping):
            return {self.hide(key): self.hide(item) for key, item in value.items()}
        return [self.hide(item) for item in value] if isinstance(value, list) else value

    def pieces(self, written: str) -> list[Piece]:
        """What the template wrote, with control tokens where it wrote them, and all texts as they were.

        Raises TemplateError if the template encoded marks: then a text is no longer what it was.
        """
        self._check(written)
        pieces: list[Piece] = []
        done = 0
        for found in self._names.finditer(written):
            pieces += [*self._text(written[done : found.start()]), Control(found[0])]
            done = found.end()
        return [*pieces, *self._text(written[done:])]

    def _check(self, written: str) -> None:
        written = written.lower()
        for mark in self._marks.values():
            in_url = "".join(f"%{byte:x}" for byte in mark.encode())
            forms = (json.dumps(mark)[1:-1], ascii(mark)[1:-1], in_url, f"&#{ord(mark)};", f"&#x{ord(mark):x};")
            if any(form.lower() in written for form in forms):
                raise TemplateError(
                    "the model's own template encodes texts in a way that cannot be undone: --template names another"
                )

    def restored(self, written: str) -> str:
        """The text with everything in it that was hidden."""
        for hidden, mark in self._marks.items():
            written = written.replace(mark, hidden)
        return written

    def _text(self, written: str) -> list[Piece]:
        return [Text(self.restored(written))] if written else []

    def _hide_text(self, text: str) -> str:
        if text in _OURS:
            return text
        for character in self._everywhere:
            if character in text:
                text = text.replace(character, self._mark(character))
        if self._here is not None:
            text = self._here.sub(lambda match: self._mark(match[0]), text)
        core = text.strip().strip(self._brackets)
        if len(core) <= self._longest and core.casefold() in self._cores:
            at = text.index(core)
            text = text[:at] + self._mark(text[at]) + text[at + 1 :]
        return text

    def _mark(self, hidden: str) -> str:
        """The one character that stands for this one."""
        if hidden not in self._marks:
            if len(self._taken) == len(_RARE):
                raise TemplateError("the messages hold every character that could hide control tokens in them")
            mark = secrets.choice(_RARE)
            while mark in self._taken:
                mark = secrets.choice(_RARE)
            self._taken.add(mark)
            self._marks[hidden] = chr(mark)
        return self._marks[hidden]


def texts_in(value: Any) -> Iterator[str]:
    """Every text in plain data, keys too.

    >>> list(texts_in([{"a": ["b", 1]}]))
    ['a', 'b']
    """
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping):
        for key, item in value.items():
            yield from texts_in(key)
            yield from texts_in(item)
    elif isinstance(value, list):
        for item in value:
            yield from texts_in(item)


def _is_common(character: str) -> bool:
    return character.isalnum() or character.isspace()


def _beginning(name: str) -> str:
    """A pattern for the first character of a name where the second is next, or where the text ends, spaces aside."""
    if len(name) == 1:
        return re.escape(name)
    end = r"\Z" if name[0].isspace() else r"\s*\Z"
    return f"{re.escape(name[0])}(?={re.escape(name[1])}|{end})"
