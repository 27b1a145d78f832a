"""What a chat does with the files and pictures of a message that is typed: finds them, and shows what was attached."""

from __future__ import annotations

import shutil
import sys
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from minichat.attachments import Attached, attach, fenced, missing
from minichat.terminal.output import say, write
from minichat.terminal.progress import StatusLine
from minichat.worded import pictures_in, sources_in, worded
from quant.errors import DataError, MinichatError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from minichat.attachments import Look
    from minichat.pictures.album import Picture
    from minichat.template.messages import Content
    from minichat.terminal.chat import Chat
    from minichat.terminal.graphics import Graphics


class Attaching:
    """Finds the files and pictures of what is being typed, again and again; for several threads.

    A picture that could not be read is not tried anew before its file has changed, or the next message is typed: that
    may take long.
    """

    def __init__(self, chat: Chat) -> None:
        self._chat = chat
        self._broken: dict[tuple[object, ...], MinichatError] = {}
        self._given_up = 0  # how often

    def __call__(self, text: str) -> Attached:
        """The message that `text` is, as `attach_in`."""
        look = look_of(self._chat)
        return attach(text, Path(), partial(self._look, look) if look is not None else None, _known(self._chat))

    def begin(self) -> None:
        """Another message is typed."""
        self._broken.clear()

    def give_up(self) -> None:
        """Ends the reading of a picture, whose name is not there any more."""
        self._given_up += 1
        if self._chat.sight is not None:
            self._chat.sight.stop()

    def _look(self, look: Look, file: Path | str, name: str) -> Picture:
        key = (self._chat.model_name, file, *_stamp(file))
        if key in self._broken:
            raise self._broken[key]
        before = self._given_up
        try:
            return look(file, name)
        except MinichatError as error:
            if self._given_up == before:
                self._broken[key] = error
            raise


def _stamp(file: Path | str) -> tuple[int, ...]:
    """What changes when a file does."""
    try:
        status = Path(file).stat()
    except (OSError, ValueError):
        return ()
    return status.st_size, status.st_mtime_ns, status.st_ino


def attach_in(chat: Chat, text: str) -> Attached:
    """A message with its files, as `attach`; pictures of the conversation stand for files that are gone."""
    return attach(text, Path(), look_of(chat), _known(chat))


def changed_files(chat: Chat, content: Content, text: str) -> list[str]:
    """The names of files of a message that are others by now, where it is typed again as `text`."""
    try:
        attached = attach_in(chat, text)
    except MinichatError:
        return []  # sending it tells
    old, new, said = pictures_in([content]), pictures_in([attached.content]), worded(content)
    files = [file.name for file in attached.files if f"{fenced(file)}\n\n" not in said]
    return files + [name for name, source in new.items() if old.get(name, source) != source]


def attach_aloud(chat: Chat, text: str) -> Attached:
    """As `attach_in`, with a status while pictures are read, and a line for each name that is no file's."""
    if "@" not in text:
        return Attached(text)
    status = StatusLine(sys.stdout, plain=chat.plain)
    look, known = look_of(chat), _known(chat)
    try:
        attached = attach(text, Path(), partial(_look_aloud, look, status) if look is not None else None, known)
    finally:
        status.clear()
    for word in missing(text, Path(), known):
        say(f"(there is no file {word[1:]}: sent as it stands)", "dim")
    return attached


def _look_aloud(look: Look, status: StatusLine, file: Path | str, name: str) -> Picture:
    status.show(f"reading {name}")
    return look(file, name)


def look_of(chat: Chat) -> Look | None:
    """How pictures are read for the chat; None where it has none."""
    sight = chat.sight
    if sight is None:
        return None

    def look(file: Path | str, name: str) -> Picture:
        picture, engine = sight.add(file, name), chat.engine
        if engine.pictures is None or not engine.is_loaded():
            return picture
        return engine.pictures(picture.source)  # which knows what memory has room for

    return look


def check_pictures(chat: Chat) -> None:
    """DataError for a picture of the conversation that cannot be shown to the model, with what to do about it.

    Such are all pictures, where the model reads text alone, and those of a session that are kept no more.
    """
    sight = chat.sight
    if sight is None:
        return
    see = chat.engine.pictures or sight.picture
    turns = chat.conversation.turns()
    for turn in turns:
        for source in sources_in([message.content for message in chat.conversation.messages[turn.start : turn.end]]):
            if sight.model.projector is None:
                raise DataError(
                    f"{chat.model_name} cannot see pictures, and turn {turn.number} has one: "
                    f"/drop {turn.number} leaves it out, /model NAME goes on with a model that sees"
                )
            try:
                see(source)
            except DataError as error:
                if turn is turns[-1]:
                    raise
                raise DataError(f"turn {turn.number}: {error}; /drop {turn.number} goes on without it") from error


def show_pictures(pictures: Sequence[Picture], graphics: Graphics | None) -> None:
    """What was attached: small, where the terminal can; and a line on each, with what it costs."""
    from minichat.sight import describe

    for picture in pictures:
        if graphics is not None:
            _draw(picture, graphics)
        say(f"({describe(picture)})", "dim", hanging=1)


def _draw(picture: Picture, graphics: Graphics) -> None:
    from minichat.terminal.thumbnail import drawing, read_thumbnail

    small, size = read_thumbnail(picture.thumbnail), shutil.get_terminal_size()
    if small is not None:
        write(sys.stdout, drawing(small, graphics, size.columns, size.lines))


def _known(chat: Chat) -> Mapping[str, str]:
    return pictures_in([message.content for message in chat.conversation.messages])
