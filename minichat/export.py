"""A conversation as a file for people (Markdown) or for programs (JSON in OpenAI's shape).

In Markdown each message stands under a heading that tells whose it is. A message is Markdown itself; what it leaves
open (a code block that an answer was cut off in) is closed, and a message that would swallow what follows it in another
way is shown as its source. In JSON, `minichat render --messages` reads it back; that an answer was cut off has no place
there. Pictures have their names in Markdown, and are data URLs in JSON, where somebody has their bytes. What a terminal
would obey is made visible in Markdown, and an escape in JSON.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, Any

from convert.publish import check_place, published
from minichat.pictures.sources import HEAD_BYTES, data_url, kind_of, name_of
from minichat.template.messages import Call, ImagePart, Message, TextPart, ThinkPart
from minichat.terminal.sanitize import UNSAFE, clean, clean_line
from quant.errors import DataError, UsageError

if TYPE_CHECKING:
    from markdown_it import MarkdownIt

PictureOf = Callable[[str], bytes | None]

_HEADINGS = {"system": "System", "user": "You", "assistant": "Model", "tool": "Tool"}
_MARKDOWN = (".md", ".markdown")
_NOT_IN_LINKS = re.compile(rb"[^A-Za-z0-9._~-]")
_OPEN_FENCE = re.compile(r"^ {0,3}(`{3,}|~{3,})", re.MULTILINE)


def check_file(path: Path) -> None:
    """UsageError for a file whose ending tells no format; StorageError if there can be no file of that name."""
    if path.suffix.lower() not in (*_MARKDOWN, ".json"):
        raise UsageError(f"{path} does not tell in what form: FILE.md is Markdown, FILE.json is OpenAI's messages")
    check_place(path)


def write_file(
    path: Path, messages: Sequence[Message], system: str | None, title: str = "", picture: PictureOf | None = None
) -> None:
    """Writes a conversation in the form that the file's ending tells, whole or not at all, over what was there.

    picture: the bytes of a picture by its source; in Markdown each is a file of its own, which is never written over
    another. Raises UsageError and StorageError, and for JSON what `picture` does; one line each.
    """
    check_file(path)
    if path.suffix.lower() == ".json":
        text = to_json(messages, system, picture)
    else:
        text = to_markdown(messages, system, title, _beside(path, messages, picture) if picture is not None else {})
    with published(path) as file:
        file.write(text.encode())


def to_json(messages: Sequence[Message], system: str | None = None, picture: PictureOf | None = None) -> str:
    """The messages in OpenAI's shape, as `parse_messages` reads them, the system prompt as the first of them.

    picture: the bytes of a picture by its source; without them the source stands there as it is.

    >>> print(to_json([Message("user", "Hi")]), end="")
    [
      {
        "role": "user",
        "content": "Hi"
      }
    ]
    """
    values = [_value(message, picture) for message in _with_system(messages, system)]
    text = json.dumps(values, ensure_ascii=False, indent=2) + "\n"
    return UNSAFE.sub(lambda match: f"\\u{ord(match[0]):04x}", text)


def to_markdown(
    messages: Sequence[Message], system: str | None = None, title: str = "", files: Mapping[str, str] | None = None
) -> str:
    r"""The conversation as a document. files: of pictures by their sources, to be linked to.

    >>> to_markdown([Message("user", "Hi"), Message("assistant", "Hel", cut=True)])
    '## You\n\nHi\n\n## Model\n\nHel\n\n*(cut off)*\n'
    """
    from markdown_it import MarkdownIt

    parser = MarkdownIt()
    blocks = [f"# {_escaped(clean_line(title))}"] if title else []
    for message in _with_system(messages, system):
        blocks += _message_blocks(message, parser, files or {})
    return "\n\n".join(blocks) + "\n"


def _with_system(messages: Sequence[Message], system: str | None) -> list[Message]:
    return [*([Message("system", system)] if system else []), *messages]


def _message_blocks(message: Message, parser: MarkdownIt, files: Mapping[str, str]) -> Iterator[str]:
    heading = _HEADINGS[message.role]
    yield f"## {heading} {_code(message.name)}" if message.role == "tool" and message.name else f"## {heading}"
    parts = (TextPart(message.content),) if isinstance(message.content, str) else message.content
    for part in parts:
        if isinstance(part, ImagePart):
            yield _picture_block(part.source, files)
        elif isinstance(part, ThinkPart):
            yield "\n".join(f"> {line}" for line in clean(part.text).split("\n"))
        elif part.text.strip():
            yield _fenced(clean(part.text), "") if message.role == "tool" else closed(clean(part.text), parser)
    for call in message.calls:
        yield f"calls {_code(call.name)}"
        yield _fenced(clean(call.arguments), "json")
    if message.cut:
        yield "*(cut off)*"


def _picture_block(source: str, files: Mapping[str, str]) -> str:
    """
    >>> _picture_block("a.png", {}), _picture_block("a.png", {"a.png": "my talk-1.png"})
    ('(a picture: `a.png`)', '![a.png](my%20talk-1.png)')
    """
    if source not in files:
        return f"(a picture: {_code(name_of(source))})"
    return f"![{_escaped(clean_line(name_of(source)))}]({_link(files[source])})"


def _link(name: str) -> str:
    """A file's name as a link to it, from beside it."""
    return _NOT_IN_LINKS.sub(lambda match: b"%%%02X" % match[0][0], os.fsencode(name)).decode("ascii")


def _beside(path: Path, messages: Sequence[Message], picture: PictureOf) -> dict[str, str]:
    """Writes the pictures that can be had beside a file; their files' names by their sources. What is there stays."""
    files: dict[str, str] = {}
    numbers = count(1)
    for source in (part.source for message in messages for part in message.content if isinstance(part, ImagePart)):
        if source in files:
            continue
        try:
            content = picture(source)
        except DataError:  # it is gone: the document is worth having all the same
            content = None
        if content is None:
            continue
        ending = {"JPEG": ".jpg"}.get(kind := kind_of(content[:HEAD_BYTES]) or "", f".{kind.lower() or 'bin'}")
        place = next(p for n in numbers if _is_free(p := path.with_name(f"{path.stem}-{n}{ending}"), content))
        if not place.exists():
            with published(place) as file:
                file.write(content)
        files[source] = place.name
    return files


def _is_free(path: Path, content: bytes) -> bool:
    """Whether a file can be written there without loss: there is none, or it is the same."""
    try:
        return not os.path.lexists(path) or (path.is_file() and path.read_bytes() == content)
    except OSError:
        return False


def closed(text: str, parser: MarkdownIt) -> str:
    """A text of Markdown such that what is written below it stands by itself.

    >>> from markdown_it import MarkdownIt
    >>> closed("```sh\\nls", MarkdownIt())
    '```sh\\nls\\n```'
    """
    text = text.strip("\n")
    if _ends(text, parser):
        return text
    marks = [match[1] for match in _OPEN_FENCE.finditer(text)]
    if marks and _ends(fixed := f"{text}\n{marks[-1]}", parser):
        return fixed
    for mark in dict.fromkeys(marks[:20]):  # the one that is open may hold others
        if _ends(fixed := f"{text}\n{mark}", parser):
            return fixed
    return _fenced(text, "markdown")


def _ends(text: str, parser: MarkdownIt) -> bool:
    """Whether a heading behind the text would be a heading of the document."""
    tokens = parser.parse(f"{text}\n\n## End\n")
    last = tokens[-3:]
    return [token.type for token in last] == ["heading_open", "inline", "heading_close"] and last[0].level == 0


def _fenced(text: str, language: str) -> str:
    """
    >>> _fenced("a ``` b", "")
    '````\\na ``` b\\n````'
    """
    longest = max((len(run) for run in re.findall("`+", text)), default=0)
    fence = "`" * max(longest + 1, 3)
    return f"{fence}{language}\n{text}\n{fence}"


def _code(text: str) -> str:
    """
    >>> _code("f"), _code("a`b")
    ('`f`', '`` a`b ``')
    """
    text = clean_line(text)
    longest = max((len(run) for run in re.findall("`+", text)), default=0)
    ticks = "`" * (longest + 1)
    return f"{ticks} {text} {ticks}" if longest else f"{ticks}{text}{ticks}"


def _escaped(text: str) -> str:
    return re.sub(r"([\\`*_\[\]<>#&~|])", r"\\\1", text)


def _value(message: Message, picture: PictureOf | None) -> dict[str, Any]:
    value: dict[str, Any] = {"role": message.role, "content": _content_value(message, picture)}
    if message.calls:
        value["tool_calls"] = [_call_value(call) for call in message.calls]
    if message.role == "tool":
        value |= {"tool_call_id": message.call_id, "name": message.name}
    return value


def _content_value(message: Message, picture: PictureOf | None) -> str | list[dict[str, Any]] | None:
    if isinstance(message.content, str):
        return message.content if message.content or not message.calls else None
    values: list[dict[str, Any]] = []
    for part in message.content:
        if isinstance(part, ImagePart):
            content = picture(part.source) if picture is not None else None
            url = data_url(content) if content is not None else part.source
            values.append({"type": "image_url", "image_url": {"url": url}})
        elif isinstance(part, ThinkPart):
            values.append({"type": "thinking", "thinking": part.text, **({} if part.closed else {"closed": False})})
        else:
            values.append({"type": "text", "text": part.text})
    return values


def _call_value(call: Call) -> dict[str, Any]:
    value = {"type": "function", "function": {"name": call.name, "arguments": call.arguments}}
    return value if call.id is None else {"id": call.id, **value}
