"""The chat at the terminal: read a message, show the answer, until Ctrl-D or /bye.

Whatever goes wrong with one message is one line; the conversation stays, and the chat goes on.
"""

from __future__ import annotations

import sys
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from minichat.templates import check_call_tokens, describe_choice
from minichat.terminal import commands
from minichat.terminal.answer import stream_answer, wait_loaded
from minichat.terminal.output import print_error, say
from minichat.terminal.progress import StatusLine
from minichat.terminal.prompt import Prompt
from quant.errors import ContextError, EngineError, MinichatError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from minichat.engine.types import Done
    from minichat.template.messages import Call
    from minichat.terminal.chat import Chat

_ANSWER_TOKENS = 512  # what an answer should have room for, before older turns have to go
_REMARKS = {
    "stop": "(stopped)",
    "length": "(stopped at the limit of --max-tokens)",
    "context": "(cut off: the context is full)",
}


def run_repl(chat: Chat) -> None:
    """Runs the chat. stdin and stdout must be a terminal. The model may still be loading.

    Raises what was wrong with a model that cannot be loaded, once it is needed.
    """
    prompt = Prompt(chat)
    try:
        while _take_line(chat, prompt):
            pass
    finally:
        chat.engine.close()


def _take_line(chat: Chat, prompt: Prompt) -> bool:
    """Reads a line, then obeys the command or sends the message that it is; False to leave."""
    try:
        text = prompt.read()
    except EOFError:
        return False
    except KeyboardInterrupt:  # a signal that came between two prompts
        return True
    command = commands.parse(text)
    try:
        if command is not None:
            return not commands.dispatch(chat, *command)
        if text.strip():
            _take_turn(chat, text)
    except KeyboardInterrupt:
        say("(stopped)\n", "dim")
    except MinichatError as error:
        if command is None and chat.info is None and not isinstance(error, EngineError):
            raise  # this file will not load at a second try either
        print_error(str(error), sys.stdout)
        say("")
    return True


def _take_turn(chat: Chat, text: str) -> None:
    """Asks, shows, remembers. A turn that comes to nothing leaves the conversation as it was; a tool that may have run
    is never forgotten.
    """
    from minichat.tools.rounds import Rounds

    conversation = chat.conversation
    before = list(conversation.messages)
    conversation.ask(text)
    conversation.tools = () if chat.form.grammar else chat.toolbox.tools  # what must be JSON cannot be a call
    has_run = False

    def agrees(call: Call, arguments: Mapping[str, Any], command: Sequence[str]) -> bool:
        nonlocal has_run
        agreed = chat.agreement.agrees(call, arguments, command)
        has_run = has_run or agreed
        return agreed

    agreement = chat.agreement
    rounds = Rounds(conversation, chat.toolbox, lambda _: _answer(chat), agrees, agreement.report, agreement.result_of)
    try:
        outcome = rounds.run()
    finally:
        last = conversation.messages[-1].role
        if not (last == "assistant" or (last == "tool" and has_run)):
            conversation.messages[:] = before
    if outcome.done.reason != "eos":
        say(_REMARKS[outcome.done.reason], "dim")
    say("")


def _answer(chat: Chat) -> Done:
    """The model's next answer, to a question or to the results of its calls.

    Older turns are forgotten if that makes room. Where turns have to go, half of the context is freed at once:
    forgetting one at every turn would have the rest decoded anew each time.
    """
    status = StatusLine(sys.stdout)
    info = wait_loaded(chat.engine, status)
    chat.conversation.template, chat.conversation.embedded = chat.template_of(info), chat.engine.apply_template
    chat.conversation.bos = info.bos
    if chat.toolbox.tools:
        check_call_tokens(chat.conversation.template, chat.engine)
    if chat.info is None and (choice := describe_choice(chat.conversation.template, info, in_chat=True)) is not None:
        say(choice, "dim")
    chat.info = info
    messages = len(chat.conversation.messages)
    room = min(chat.max_tokens or _ANSWER_TOKENS, info.ctx // 4)
    while True:
        gone = messages - len(chat.conversation.messages)
        remark = f"(the oldest {gone} messages no longer fit into the context and were forgotten)" if gone else ""
        try:
            return _stream(chat, status, remark, max(room, 1))
        except ContextError:
            if chat.conversation.forget_oldest():
                room = info.ctx // 2
            elif room > 1:
                room = 1  # the question alone: any answer is better than none
            else:
                raise


def _stream(chat: Chat, status: StatusLine, remark: str, room: int) -> Done:
    chat.last_prompt = chat.conversation.pieces()  # not in the `try`: a Ctrl-C here is no fault of the engine's
    try:
        done, interrupted = stream_answer(
            chat.engine,
            chat.last_prompt,
            chat.sampling,
            chat.max_tokens,
            sys.stdout,
            status,
            remark,
            room,
            chat.form.grammar,
        )
    except KeyboardInterrupt:  # a second Ctrl-C: the engine did not heed the first
        chat.engine.close()
        chat.engine, chat.info = chat.open_engine(), None
        raise EngineError("the engine did not stop; it was ended and starts again") from None
    chat.stats = done.stats
    return replace(done, reason="stop") if interrupted else done
