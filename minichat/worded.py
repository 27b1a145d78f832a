"""A message with pictures in words: its texts, and each picture by the word that would attach it. Pure.

It is what titles, lists and searches have of such a message, and what comes back into the prompt when it is edited.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from minichat.pictures.sources import kept, name_of
from minichat.template.messages import Content, ImagePart, ThinkPart

BEHIND = ".,;:!?)]}>'…"  # what may follow a word without belonging to it, and touches it
_OPENING = "([{<\"'"  # what may stand before it, and touches it
_FENCED_END = re.compile(r"^`{3,}\Z", re.MULTILINE)


def worded(content: Content) -> str:
    """A message as it would be typed: its texts, and its pictures as words with an @.

    >>> from minichat.template.messages import TextPart
    >>> worded((TextPart("What is"), ImagePart("my cat.png"), TextPart("?")))
    'What is @"my cat.png"?'
    """
    if isinstance(content, str):
        return content
    text, after_picture = "", False
    for part in content:
        if isinstance(part, ThinkPart):
            continue
        more = word_of(name_of(part.source)) if isinstance(part, ImagePart) else part.text
        touches = not text or (more[:1] in BEHIND if after_picture else text[-1] in _OPENING)
        text += "" if touches else "\n\n" if _FENCED_END.search(text) else " "
        text += more
        after_picture = isinstance(part, ImagePart)
    return text


def word_of(name: str) -> str:
    """The word that attaches a file.

    >>> word_of("a.txt"), word_of("a b.txt")
    ('@a.txt', '@"a b.txt"')
    """
    return f'@"{name}"' if re.search(r"\s", name) or name[-1:] in BEHIND else f"@{name}"


def sources_in(contents: Sequence[Content]) -> list[str]:
    """The sources of the pictures in messages, in their order.

    >>> sources_in(["Hello", (ImagePart("a.png"),)])
    ['a.png']
    """
    parts = (part for content in contents if not isinstance(content, str) for part in content)
    return [part.source for part in parts if isinstance(part, ImagePart)]


def pictures_in(contents: Sequence[Content]) -> dict[str, str]:
    """The sources of pictures that an album has or keeps, by their names; of one name the last."""
    return {found[1]: source for source in sources_in(contents) if (found := kept(source)) is not None}
