"""What is being typed, read by the engine before it is sent: behind Enter only the last words are left to read.

With nothing typed it is the conversation so far: a system prompt, a session that goes on. Then finished words follow,
as the template will put them into the prompt, the files that they attach included. Nothing here can make an answer
another one: the engine cuts its cache back to what the prompt has in common with it. What cannot be read (no room, no
such template, an engine that died) is for the message itself to tell.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from minichat.engine.types import Done
from minichat.power import is_on_battery
from minichat.template.messages import Content, Message, TextPart
from minichat.template.pieces import Piece, Text
from minichat.terminal.attaching import Attaching
from minichat.terminal.typed import QUOTES, is_open, message_of
from quant.errors import MinichatError

if TYPE_CHECKING:
    from minichat.attachments import Attached
    from minichat.conversation import Conversation
    from minichat.engine.client import Engine
    from minichat.terminal.chat import Chat
    from minichat.terminal.cost import Meter

_LONGEST = 1_000_000  # characters of a message that is worth the reading
_LONG_WORD, _OPEN_END = 16, 8  # characters: of a script without blanks all is finished but the end
_MUCH = 24  # characters that are worth a batch of their own
_STEP_S = 0.15  # what else is typed may stand so long before it is counted
_LOOK_S = 0.05  # between two looks at what the engine says


class Typeahead:
    """Has the engine of a chat read what is typed. `read` is for one thread, the others are for any."""

    def __init__(self, chat: Chat, attach: Callable[[str], Attached] | None = None) -> None:
        self._chat, self._attach = chat, attach or Attaching(chat)
        self._lock = threading.Lock()  # held while a request or a `stop` is written: never two at once
        self._running: Engine | None = None
        self._text = ""  # the last one that was read
        self._last: tuple[Engine, list[Piece]] | None = None

    def is_on(self) -> bool:
        """Whether it is wanted, with the power that the machine has now."""
        wanted = self._chat.typeahead
        return wanted == "on" or (wanted == "mains" and not is_on_battery())

    def is_much(self, text: str) -> bool:
        """Whether more of `text` is to be read than a few words, which can wait for the next ones."""
        return len(finished(text)) - _shared(text, self._text) >= _MUCH

    def read(self, text: str, meter: Meter) -> None:
        """Has the engine read what is finished of `text`; returns when it has, or when `meter` needs it.

        Raises nothing that files or engine do.
        """
        engine = self._chat.engine
        if len(text) > _LONGEST or not engine.is_loaded() or not self.is_on():
            return
        try:
            conversation = self._chat.as_shown(engine.wait_loaded())
            message = self._attach(message_to_be(text)).content
            wanted = engine, beginning(self._continued(conversation), finished_content(message))
        except (MinichatError, OSError):
            return
        if wanted == self._last or not wanted[1]:
            return
        self._last = None
        try:
            if self._prefill(*wanted, text, meter):
                self._last = wanted
        except MinichatError:
            self._last = wanted  # a second try would come to the same

    def follow(self, text: str) -> None:
        """Another text stands there now: stops at once what does not belong to it."""
        if not text.startswith(finished(self._text)):
            self.stop()

    def stop(self, *, gently: bool = False) -> None:
        """Stops what is read. gently: not before the end of the batch under way, which is not lost then."""
        with self._lock:
            if self._running is not None:
                self._running.stop(gently=gently)

    def _continued(self, conversation: Conversation) -> Conversation:
        """The conversation that the message will belong to, without it."""
        turns, at = conversation.turns(), self._chat.editing
        if at is not None and at <= len(turns):
            conversation.drop(at, len(turns))
        tools = () if self._chat.form.grammar else self._chat.toolbox.tools
        return replace(conversation, tools=tools)

    def _prefill(self, engine: Engine, pieces: list[Piece], text: str, meter: Meter) -> bool:
        """Whether it came to its end. What is under way when the prompt is left is left to whoever asks next."""
        pieces = engine.with_pictures(pieces)  # before the lock, which a key waits for: it may take long
        with self._lock:
            if meter.has_other():
                return False
            self._text = text
            events = engine.prefill(pieces, ahead=True)
            self._running = engine
        is_stopped = False
        try:
            while not meter.has_ended:
                if not events.is_here():
                    meter.rest(_LOOK_S)
                elif isinstance(event := next(events, None), Done) or event is None:
                    return event is not None and event.reason == "length"
                if not is_stopped and meter.has_other(_STEP_S) and not meter.has_ended:
                    is_stopped = True
                    self.stop(gently=True)
            return False
        finally:
            with self._lock:
                self._running = None


def message_to_be(text: str) -> str:
    r'''The message that what stands in the prompt is becoming, without its files.

    >>> message_to_be('"""\none two'), message_to_be("one two")
    ('one two', 'one two')
    '''
    return message_of(f"{text}\n{QUOTES}" if is_open(text) else text)


def finished_content(content: Content) -> Content:
    """A message up to its last finished word, or a picture behind that.

    >>> from minichat.template.messages import ImagePart
    >>> finished_content((TextPart("What is"), ImagePart("a.png"), TextPart("and whe")))
    (TextPart(text='What is'), ImagePart(source='a.png'), TextPart(text='and'))
    """
    if isinstance(content, str):
        return finished(content)
    *before, last = content
    if not isinstance(last, TextPart):
        return content
    text = finished(last.text)
    return (*before, TextPart(text)) if text else tuple(before)


def finished(text: str) -> str:
    """A text up to its last finished word, without the blanks behind that.

    >>> finished("Hello wor"), finished("Hello world "), finished("これは空白のない長い文章です。それから")
    ('Hello', 'Hello world', 'これは空白のない長い文')
    """
    words = text.rsplit(None, 1)
    if not words or text[-1].isspace():
        return text.rstrip()
    if len(words[-1]) > _LONG_WORD:
        return text[:-_OPEN_END]
    return words[0] if len(words) > 1 else ""


def beginning(conversation: Conversation, content: Content) -> list[Piece]:
    """What the prompt begins with when a user's message is next that begins with `content`, whatever follows.

    Two such messages are rendered; what their prompts have in common does not depend on the rest.

    >>> from minichat.conversation import Conversation
    >>> beginning(Conversation("v7-tekken"), "Hi")
    [Control(name='<s>'), Control(name='[INST]'), Text(text='Hi')]
    """
    one, other = (_asked(conversation, _longer(content, end)).pieces() for end in "ab")
    place = _shared(one, other)
    begun = one[:place]
    match one[place : place + 1], other[place : place + 1]:
        case [Text(a)], [Text(b)] if same := a[: _shared(a, b)]:
            begun.append(Text(same))
    return begun


def _shared(one: Sequence[object], other: Sequence[object]) -> int:
    """How much two sequences begin with in common."""
    return next((n for n, (a, b) in enumerate(zip(one, other, strict=False)) if a != b), min(len(one), len(other)))


def _longer(content: Content, end: str) -> Content:
    if isinstance(content, str):
        return content + end
    *before, last = content
    return (*before, TextPart(last.text + end)) if isinstance(last, TextPart) else (*content, TextPart(end))


def _asked(conversation: Conversation, content: Content) -> Conversation:
    return replace(conversation, messages=[*conversation.messages, Message("user", content)])
