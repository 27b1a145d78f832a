"""A chat that goes on with a session: its messages, and what is to be seen of them."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from minichat.session_reports import describe_opened
from minichat.terminal.output import say
from minichat.terminal.sanitize import clean
from minichat.worded import worded

if TYPE_CHECKING:
    from minichat.saved import Saved
    from minichat.template.messages import Message
    from minichat.terminal.chat import Chat

_QUESTION_LINES = 3
_ANSWER_LINES = 12


def resume(chat: Chat, saved: Saved, *, keep_system: bool = False) -> None:
    """Puts a session's messages in the place of the chat's, and shows where they ended.

    keep_system: the chat's own system prompt stays, because it was asked for.
    """
    conversation = chat.conversation
    vocabulary = chat.info.vocabulary if chat.info is not None else None
    conversation.messages[:] = saved.messages_for(chat.model_reference, vocabulary)
    if not keep_system:
        conversation.system = saved.system
        chat.choices = replace(chat.choices.with_choice("system", None), saved={"system": saved.system or ""})
    chat.stats, chat.used, chat.last_prompt, chat.unsent = None, None, [], None
    chat.warm_up(saved.forked_from)
    show_opened(saved, chat.model_reference)


def show_opened(saved: Saved, model: str) -> None:
    """The last turn of a session, and what is to be known of it."""
    start = max((i for i, message in enumerate(saved.messages) if message.role == "user"), default=0)
    for message in saved.messages[start:]:
        _show(message)
    for line in describe_opened(saved, model):
        say(line, "dim", hanging=1)
    say("")


def _show(message: Message) -> None:
    text = clean(worded(message.content)).strip("\n")
    if not text or message.role not in ("user", "assistant"):
        return
    lines = text.split("\n")
    most = _QUESTION_LINES if message.role == "user" else _ANSWER_LINES
    if len(lines) > most:
        lines = [*lines[:most], "…"] if message.role == "user" else ["…", *lines[-most:]]
    if message.role == "user":
        say("\n".join([f"> {lines[0]}", *(f"  {line}" for line in lines[1:])]), "bold", hanging=2)
    else:
        say("\n".join(lines))
