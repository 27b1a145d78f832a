"""Older turns as a summary, which the model writes itself and which takes their place."""

from __future__ import annotations

import io
import sys
from dataclasses import replace
from typing import TYPE_CHECKING

from minichat.template.messages import Message
from minichat.terminal.answer import stream_answer
from minichat.terminal.output import say
from minichat.terminal.progress import StatusLine
from minichat.terminal.turn import ready
from quant.errors import ContextError, UsageError

if TYPE_CHECKING:
    from minichat.terminal.chat import Chat

_REQUEST = (
    "Summarise our conversation up to here for yourself, so that you can go on with it later: every fact, name, "
    "number, decision and open question that may still matter, in as few words as possible. Write only the summary."
)
_OPENING = "This is a summary of what we said before:"
_REPLY = "I remember it."
_SHARE = 4  # a summary takes at most this part of the context


def compact(chat: Chat, count: int) -> None:
    """Puts a summary in the place of the oldest `count` turns. Raises UsageError without one.

    Turns that are too long for one prompt are summarised in parts, each with the summary of those before.
    """
    conversation = chat.conversation
    if conversation.template is None:
        raise UsageError("a base model goes on with a text and summarises none: /drop leaves turns out")
    turns = conversation.turns()
    end = turns[count - 1].end
    rest = list(conversation.messages[end:])
    summary: list[Message] = []
    at = 0
    while at < count:
        upto = count
        while True:
            part = [*summary, *conversation.messages[turns[at].start : turns[upto - 1].end]]
            try:
                text = _summary(chat, part)
                break
            except ContextError:
                if upto - at == 1:
                    raise
                upto = at + (upto - at) // 2
        summary = [Message("user", f"{_OPENING}\n\n{text}"), Message("assistant", _REPLY)]
        at = upto
    whole = _keep_whole(chat)
    conversation.messages[:] = [*summary, *rest]
    chat.used = None
    say(text, hanging=0)
    they_are = f"the oldest {count} turns are" if count > 1 else "the oldest turn is"
    say(f"({they_are} a summary now{whole})", "dim")


def _keep_whole(chat: Chat) -> str:
    """Has the session go on in a new file of its name; where the old one is, to be told."""
    session = chat.session
    if session is None or not session.is_on_disk:
        return ""
    chat.save()
    name = session.name
    taken = set(chat.sessions.names())
    whole = next(f"{name[:50]}-whole{n}" for n in ("", *range(2, 10_000)) if f"{name[:50]}-whole{n}" not in taken)
    chat.sessions.rename(session, whole)
    session.close()
    chat.session = chat.sessions.new(name)
    return f"; /load {whole} has all that was said"


def _summary(chat: Chat, messages: list[Message]) -> str:
    ctx = ready(chat).ctx
    talk = replace(chat.conversation, messages=[*messages, Message("user", _REQUEST)], tools=())
    longest = max(1, ctx // _SHARE)
    status = StatusLine(sys.stdout, plain=chat.plain)
    status.show("summarising")
    try:
        done, interrupted = stream_answer(
            chat.engine, talk.pieces(), chat.sampling, longest, io.StringIO(), status, room=longest
        )
    finally:
        status.clear()
    if interrupted:
        raise KeyboardInterrupt
    if not done.text.strip():
        raise UsageError("the model wrote no summary: /drop leaves turns out, without one")
    return done.text.strip()
