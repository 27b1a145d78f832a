"""The chat at the terminal: read a message, show the answer, until Ctrl-D or /bye.

Whatever goes wrong with one message is one line; the conversation stays, and the chat goes on.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from minichat.terminal import commands, parking
from minichat.terminal.interrupt import interrupt_waits
from minichat.terminal.output import print_error, say
from minichat.terminal.progress import StatusLine
from minichat.terminal.prompt import Prompt
from minichat.terminal.reviving import reason_to_end, revive, revive_if_dead
from minichat.terminal.unsent import put_back
from quant.errors import EngineDiedError, EngineError, MinichatError

if TYPE_CHECKING:
    from minichat.terminal.chat import Chat

_WORTH_TELLING_TOKENS = 4096


def run_repl(chat: Chat) -> None:
    """Runs the chat. stdin and stdout must be a terminal. The model may still be loading.

    Raises what was wrong with a model that cannot be loaded, once that is known.
    """
    prompt = Prompt(chat)
    try:
        with prompt.keeps_terminal():
            while _goes_on(chat, prompt):
                pass
        _keep_warm(chat)
    finally:
        chat.save()
        if chat.session is not None:
            chat.session.close()
        parking.close(chat)
        chat.engine.close()


def _keep_warm(chat: Chat) -> None:
    """The session's state on the disk, for the next time. A Ctrl-C leaves without it."""
    chat.save()
    status = StatusLine(sys.stdout, plain=chat.plain)
    try:
        if (chat.used or 0) >= _WORTH_TELLING_TOKENS:
            status.show("keeping what the model has read")
        chat.keep_warm()
    except KeyboardInterrupt:
        pass
    finally:
        status.clear()


def _goes_on(chat: Chat, prompt: Prompt) -> bool:
    """One line, and what it changed kept. A Ctrl-C that comes when nothing can be stopped does not end the chat."""
    try:
        if not _take_line(chat, prompt):
            return False
        chat.save()
        parking.give_way(chat, chat.info)
    except KeyboardInterrupt:
        pass
    return True


def _take_line(chat: Chat, prompt: Prompt) -> bool:
    """Reads a line, then obeys the command or sends the message that it is; False to leave."""
    draft, chat.draft = chat.draft, ""
    before = len(chat.conversation.messages)
    text = command = at = None
    try:
        _end_if_unloadable(chat)
        if draft and chat.unsent is not None and chat.unsent.yields and prompt.is_typed_ahead():
            draft, chat.editing = "", None
        with interrupt_waits(chat.sight.stop if chat.sight is not None else None) as waiting:
            text = prompt.read(draft, waiting)
        at, chat.editing = chat.editing, None
        command = commands.parse(text)
        if command is not None:
            return not commands.dispatch(chat, *command)
        if text.strip():
            _send(chat, prompt, text, at)
    except EOFError:
        _end_if_unloadable(chat)
        return False
    except KeyboardInterrupt:
        if text is None:  # a signal that came between two prompts
            chat.draft = draft  # what is edited has not been given up
            return True
        if command is None and len(chat.conversation.messages) == before:
            put_back(chat, text, at or chat.editing, yields=True)
        say("(stopped)\n", "dim")
    except EngineDiedError as death:
        revive(chat, death)
        say("")
    except MinichatError as error:
        is_unloadable = command is None and chat.info is None and not isinstance(error, EngineError)
        if is_unloadable and not chat.was_loaded:
            raise  # this file will not load at a second try either
        print_error(str(error), sys.stdout)
        say("(/reload tries again; /model NAME goes on with another)\n" if is_unloadable else "", "dim")
    except OSError as error:
        if error.filename is None:  # of the terminal, not of a file that was named
            raise
        print_error(f"{error.filename}: {error.strerror}", sys.stdout)
        say("")
    return True


def _end_if_unloadable(chat: Chat) -> None:
    if (failure := reason_to_end(chat)) is not None:
        raise failure


def _send(chat: Chat, prompt: Prompt, text: str, at: int | None) -> None:
    """Sends what was typed; what could not be sent, or was stopped before the first word, is in the prompt again."""
    from minichat.terminal.attaching import attach_aloud, show_pictures
    from minichat.terminal.turn import ask  # not before the prompt is on the screen

    before, chat.unsent = len(chat.conversation.messages), None
    try:
        attached = attach_aloud(chat, text)
    except MinichatError as error:
        print_error(str(error), sys.stdout)
        put_back(chat, text, at)
        say("")
        return
    if attached.pictures:
        show_pictures(attached.pictures, prompt.graphics())
    try:
        revive_if_dead(chat)
        if not ask(chat, attached.content, at):
            put_back(chat, text, at, yields=True)
    except MinichatError as error:
        is_lost = isinstance(error, EngineError) and not isinstance(error, EngineDiedError)
        if not is_lost and len(chat.conversation.messages) == before:
            put_back(chat, text, at)
        raise
