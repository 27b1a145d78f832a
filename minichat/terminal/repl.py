"""The chat at the terminal: read a message, show the answer, until Ctrl-D or /bye.

Whatever goes wrong with one message is one line; the conversation stays, and the chat goes on.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from minichat.terminal import commands
from minichat.terminal.answer import stream_answer, wait_loaded
from minichat.terminal.output import print_error, say
from minichat.terminal.progress import StatusLine
from minichat.terminal.prompt import Prompt
from quant.errors import ContextError, EngineError, MinichatError

if TYPE_CHECKING:
    from minichat.engine.types import Done
    from minichat.terminal.chat import Chat

_REMARKS = {
    "stop": "(stopped)",
    "length": "(stopped at the limit of --max-tokens)",
    "context": "(the context is full: /clear starts afresh)",
}


def run_repl(chat: Chat) -> int:
    """Runs the chat; the exit code. stdin and stdout must be a terminal. The model may still be loading.

    Raises what was wrong with a model that cannot be loaded, once it is needed.
    """
    prompt = Prompt(chat)
    try:
        while _take_line(chat, prompt):
            pass
    finally:
        chat.engine.close()
    return 0


def _take_line(chat: Chat, prompt: Prompt) -> bool:
    """Reads a line, then obeys the command or sends the message that it is; False to leave."""
    try:
        text = prompt.read()
    except EOFError:
        return False
    except KeyboardInterrupt:  # a signal that came between two prompts
        return True
    command = commands.parse(text)
    if command is not None:
        try:
            return not commands.dispatch(chat, *command)
        except MinichatError as error:
            print_error(str(error), sys.stdout)
    elif text.strip():
        _take_turn(chat, text)
    return True


def _take_turn(chat: Chat, text: str) -> None:
    """Asks, shows, remembers. Of a turn that came to nothing the conversation keeps nothing."""
    chat.conversation.ask(text)
    try:
        done, interrupted = _answer(chat)
    except KeyboardInterrupt:
        chat.conversation.take_back()
        say("(stopped)", "dim")
    except MinichatError as error:
        chat.conversation.take_back()
        if chat.info is None and not isinstance(error, EngineError):
            raise  # this file will not load at a second try either
        print_error(str(error), sys.stdout)
    else:
        chat.stats = done.stats
        if done.tokens:
            chat.conversation.answer(done.text, done.tokens)
        else:
            chat.conversation.take_back()
        if interrupted or done.reason != "eos":
            say(_REMARKS.get(done.reason, "(stopped)"), "dim")
    say("")


def _answer(chat: Chat) -> tuple[Done, bool]:
    """The answer to the open question; older turns are forgotten if that makes it fit."""
    status = StatusLine(sys.stdout)
    info = wait_loaded(chat.engine, status)
    chat.conversation.template = chat.template_of(info)
    chat.info = info
    before = list(chat.conversation.messages)
    remark = ""
    while True:
        try:
            return _stream(chat, status, remark)
        except ContextError:  # noqa: PERF203  (a few times at most)
            if not chat.conversation.forget_oldest():
                chat.conversation.messages[:] = before  # the message is too long by itself: nothing was gained
                raise
            gone = len(before) - len(chat.conversation.messages)
            remark = f"(the oldest {gone} messages no longer fit into the context and were forgotten)"


def _stream(chat: Chat, status: StatusLine, remark: str) -> tuple[Done, bool]:
    try:
        return stream_answer(chat.engine, chat.conversation, chat.sampling, chat.max_tokens, sys.stdout, status, remark)
    except KeyboardInterrupt:  # a second Ctrl-C: the engine did not heed the first
        chat.engine.close()
        chat.engine, chat.info = chat.open_engine(), None
        raise EngineError("the engine did not stop; it was ended and starts again") from None
