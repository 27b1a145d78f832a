"""A turn of the chat: ask, show the answer, remember it.

Whatever comes between, the conversation is valid afterwards: a turn that came to nothing leaves it as it was; a tool
that may have run is never forgotten; an answer that was stopped stays, marked as cut.
"""

from __future__ import annotations

import sys
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from minichat.template.messages import Message
from minichat.templates import check_call_tokens, describe_choice
from minichat.terminal import parking
from minichat.terminal.answer import stream_answer, wait_loaded
from minichat.terminal.attaching import attach_aloud, check_pictures
from minichat.terminal.chosen import settings_in
from minichat.terminal.fitting import make_room
from minichat.terminal.interrupt import ImpatientInterrupt
from minichat.terminal.output import say
from minichat.terminal.progress import StatusLine
from minichat.terminal.sanitize import clean_line
from minichat.terminal.unsent import put_back, take_unsent
from quant.errors import ContextError, EngineError, UsageError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from minichat.conversation import Conversation
    from minichat.engine.types import Done, ModelInfo, Sampling
    from minichat.template.messages import Call, Content
    from minichat.template.pieces import Piece
    from minichat.terminal.chat import Chat
    from minichat.terminal.unsent import Unsent

_ANSWER_TOKENS = 512
_SHOWN = 60  # cells of a message that say which one it is
_REMARKS = {
    "stop": "(stopped)",
    "length": "(stopped at the limit of max-tokens; /continue goes on)",
    "context": "(cut off: the context is full; /drop, /compact or /set ctx make room, /continue goes on)",
}


def ask(chat: Chat, content: Content, at: int | None = None) -> bool:
    """Sends a message, as the next one or in the place of turn `at` and of all that followed it.

    False if nothing came of it, because the answer was stopped before its first word.
    """
    conversation = chat.conversation
    before = list(conversation.messages)
    if at is not None:
        turns = conversation.turns()
        if at <= len(turns):
            conversation.drop(at, len(turns))
    conversation.messages.append(Message("user", content))
    return _take_turn(chat, before, chat.sampling)


def ask_again(chat: Chat) -> None:
    """Another answer to the last question, drawn with another seed. Raises UsageError where there is none.

    A message that came to nothing is asked again instead, as it was typed: it is what stands last on the screen.
    """
    if (unsent := take_unsent(chat)) is not None:
        _ask_unsent(chat, unsent)
        return
    conversation = chat.conversation
    turns = conversation.turns()
    if not turns or conversation.messages[turns[-1].start].role != "user":
        raise UsageError("nothing has been asked yet that could be answered again")
    before = list(conversation.messages)
    del conversation.messages[turns[-1].start + 1 :]
    _take_turn(chat, before, _other_seed(chat), replaces=before[-1].role == "assistant")


def _ask_unsent(chat: Chat, unsent: Unsent) -> None:
    from minichat.terminal.toolbar import cut  # prompt_toolkit, which a plain prompt does without

    is_answered = False
    say(f"(asked again: {cut(clean_line(' '.join(unsent.text.split())), _SHOWN)})", "dim")
    try:
        is_answered = ask(chat, attach_aloud(chat, unsent.text).content, unsent.at)
    finally:
        if not is_answered and chat.conversation.messages == unsent.behind:
            put_back(chat, unsent.text, unsent.at, yields=True)


def lengthen(chat: Chat) -> None:
    """Has the model go on with its last answer, where that ended. Raises UsageError where there is none."""
    old = chat.conversation.open_answer()
    if old is None:
        raise UsageError("there is no answer to go on with: /retry asks the last question again")
    if chat.form.grammar:
        raise UsageError("JSON cannot be gone on with, only begun: /set max-tokens, then /retry; or /format text")
    messages = chat.conversation.messages
    chat.save()
    chat.keeps_heard = True
    messages[-1] = replace(old, prefix=True)
    joined = old
    try:
        done = _answer(chat, chat.sampling)
        joined = _joined(old, done)
    except (EngineError, SystemExit):
        if text := "".join(chat.heard):
            joined = replace(old, content=old.text + text, tokens=None, cut=True)
        raise
    finally:
        messages[-1] = joined
    if not done.tokens and done.reason == "eos":
        say("(the model has nothing to add)\n", "dim")
    else:
        _remark(chat, done)


def ready(chat: Chat) -> ModelInfo:
    """Waits for the model, and sees to it that the conversation has its template."""
    info = wait_loaded(chat.engine, StatusLine(sys.stdout, plain=chat.plain))
    conversation, shown = chat.conversation, chat.as_shown(info)
    conversation.template, conversation.embedded, conversation.bos = shown.template, shown.embedded, shown.bos
    conversation.messages[:] = shown.messages
    if chat.toolbox.tools:
        check_call_tokens(conversation.template, chat.engine)
    if chat.info is None and (choice := describe_choice(conversation.template, info, in_chat=True)) is not None:
        say(choice, "dim")
    for remark in info.remarks(chat.load) if chat.info is None else []:
        say(f"({remark})", "dim")
    chat.info, chat.was_loaded = info, True
    return info


def _take_turn(chat: Chat, before: Sequence[Message], sampling: Sampling, replaces: bool = False) -> bool:
    """Answers the conversation's last message, with rounds of tools; False if that left nothing.

    before: the messages, if that comes to nothing. replaces: the answer takes the place of one in `before`, which is
    kept until then.
    """
    from minichat.tools.rounds import Rounds

    conversation, used, is_kept = chat.conversation, chat.used, True
    conversation.tools = () if chat.form.grammar else chat.toolbox.tools  # what must be JSON cannot be a call
    has_run = False

    def agrees(call: Call, arguments: Mapping[str, Any], command: Sequence[str]) -> bool:
        nonlocal has_run
        agreed = chat.agreement.agrees(call, arguments, command)
        has_run = has_run or agreed
        return agreed

    agreement = chat.agreement

    def is_replacing() -> bool:
        return replaces and conversation.messages[-1].role == "user"

    def generate(_: Conversation) -> Done:
        chat.keeps_heard = not is_replacing()
        if chat.keeps_heard:
            chat.save()  # a kill in the middle of the answer must not lose the question
        done = _answer(chat, sampling)
        chat.heard.clear()  # from here on it is in the conversation
        return done

    rounds = Rounds(conversation, chat.toolbox, generate, agrees, agreement.report, agreement.result_of)
    said_nothing = False
    try:
        outcome = rounds.run()
        said_nothing = outcome.done.reason == "eos" and not outcome.done.tokens and not replaces
    except (EngineError, OSError, SystemExit, KeyboardInterrupt) as error:
        # The engine died, the window was closed, or a Ctrl-C came when the answer was just there.
        if is_replacing():
            pass
        elif text := "".join(chat.heard):
            conversation.messages.append(Message("assistant", text, cut=True))  # what was said is kept
        elif not isinstance(error, (EngineError, KeyboardInterrupt)):
            before = list(conversation.messages)
        raise
    finally:
        agreement.settle()
        last = conversation.messages[-1].role if conversation.messages else ""
        if not (last == "assistant" or (last == "tool" and has_run) or said_nothing):
            conversation.messages[:] = before
            chat.used, is_kept = used, False
    if outcome.done.reason != "eos" and conversation.messages and conversation.messages[-1].role == "assistant":
        conversation.messages[-1] = replace(conversation.messages[-1], cut=True)
    _remark(chat, outcome.done)
    return is_kept


def _remark(chat: Chat, done: Done) -> None:
    if done.reason == "length" and chat.form.grammar:
        say("(stopped at the limit of max-tokens: /set max-tokens, then /retry)", "dim")
    elif done.reason != "eos":
        say(_REMARKS[done.reason], "dim")
    elif not done.tokens:
        say("(the model said nothing; /retry asks again)", "dim")
    say("")


def _answer(chat: Chat, sampling: Sampling) -> Done:
    """The model's next answer, to a question or to the results of its calls.

    Where the prompt does not fit, the person is asked which turns may go; ContextError, if none.
    """
    chat.heard.clear()
    room = answer_room(chat, ready(chat))
    check_pictures(chat)
    while True:
        try:
            return _stream(chat, chat.conversation.pieces(), sampling, room)
        except ContextError:
            info = ready(chat)  # anew: memory may not have let the context grow
        if chat.parked is not None and chat.load.ctx is None:
            parking.close(chat)  # its memory may be what was missing
        elif room > 1 and len(chat.conversation.turns()) == 1:
            room = 1  # nothing could be dropped: a short answer is better than none
        else:
            make_room(chat, info, room)


def answer_room(chat: Chat, info: ModelInfo) -> int:
    """The tokens that an answer should have, in the context, before somebody is asked to make room."""
    return max(1, min(chat.max_tokens or _ANSWER_TOKENS, info.ctx // 4))


def _stream(chat: Chat, pieces: Sequence[Piece], sampling: Sampling, room: int) -> Done:
    chat.last_prompt = list(pieces)
    chat.heard.clear()
    try:
        done, interrupted = stream_answer(
            chat.engine,
            pieces,
            sampling,
            chat.max_tokens,
            sys.stdout,
            StatusLine(sys.stdout, plain=chat.plain),
            room=room,
            grammar=chat.form.grammar,
            heard=chat.hear,
            plain=chat.plain,
        )
    except ImpatientInterrupt:  # the engine did not heed the first one
        chat.restart()
        raise EngineError("the engine did not stop; it was ended and starts again") from None
    chat.stats, chat.used, chat.deaths = done.stats, done.stats.context_tokens, 0
    return replace(done, reason="stop") if interrupted else done


def _other_seed(chat: Chat) -> Sampling:
    """The chat's sampling, with a seed that is not the last one."""
    sampling = chat.sampling
    if settings_in(chat)["temperature"].value == 0:
        say("(at temperature 0 the answer is the same every time: /set temperature)", "dim")
    if sampling.seed is None:
        return sampling
    chat.retries += 1
    return replace(sampling, seed=(sampling.seed + chat.retries) % 2**32)


def _joined(old: Message, done: Done) -> Message:
    """An answer with what was said behind it. Calls of tools that a longer answer comes to are left out."""
    calls = any(name == "[TOOL_CALLS]" for name, is_control in done.spans if is_control)
    tokens = old.tokens + done.tokens if old.tokens is not None and not calls else None
    return replace(old, content=old.text + done.text, tokens=tokens, cut=done.reason != "eos")
