"""Making room in the context: never without being asked, and never by half a turn.

This needs 1,310 tokens, room for an answer of 256 among them, and the context holds 1,024:
  d  drop the oldest 3 turns
  c  compact them to a summary
  e  enlarge the context to 2,048 tokens
  n  send nothing
Which one? [d/c/e/N]
"""

from __future__ import annotations

import sys
from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING

from minichat.conversation import EMBEDDED
from minichat.template.messages import Message
from minichat.terminal.ask import drop_typed_ahead, read_line
from minichat.terminal.output import print_error, say
from quant.errors import ContextError, DataError, MinichatError, UsageError

if TYPE_CHECKING:
    from minichat.conversation import Conversation, Turn
    from minichat.engine.types import ModelInfo
    from minichat.terminal.chat import Chat

_TRIES = 3  # wrong answers are no answer: what was pasted must not choose


def make_room(chat: Chat, info: ModelInfo, room: int) -> None:
    """Asks the person how a prompt that does not fit shall fit with `room` tokens to spare, and does that.

    Raises ContextError if nothing is to be done, or can be.
    """
    ctx, ctx_train = info.ctx, info.ctx_train
    needed = prompt_tokens(chat) + room
    oldest = turns_to_drop(chat, room, ctx)
    larger = _larger(needed, ctx, ctx_train)
    turns = f"the oldest {oldest} turns" if oldest > 1 else "the oldest turn"
    offers = {
        "d": f"drop {turns}" if oldest else "",
        "c": f"compact {'them' if oldest > 1 else 'it'} to a summary" if oldest and chat.conversation.template else "",
        "e": f"enlarge the context to {larger:,} tokens" if larger else "",
    }
    offers = {key: offer for key, offer in offers.items() if offer}
    end = ":" if offers else "."
    say(f"This needs {needed:,} tokens, room for an answer of {room:,} among them, and the context holds {ctx:,}{end}")
    match _choice(offers) if offers else "n":
        case "d":
            chat.conversation.drop(1, oldest)
            say(f"(dropped {turns})", "dim")
        case "c":
            from minichat.terminal.compacting import compact

            compact(chat, oldest)
        case "e" if larger:
            enlarge(chat, larger)
        case _:
            why = "nothing was sent" if offers else "a shorter message, or a model with a longer context"
            raise ContextError(f"the prompt needs {needed:,} tokens, and the context holds {ctx:,}: {why}")


def prompt_tokens(chat: Chat, conversation: Conversation | None = None) -> int:
    """The length of the prompt as it stands, or would with another conversation.

    Behind an answer, unless that is being lengthened, of the prompt with the next, empty message.
    """
    talk = conversation or chat.conversation
    last = talk.messages[-1]
    if talk.template is not None and last.role == "assistant" and not last.prefix:
        talk = replace(talk, messages=[*talk.messages, Message("user", "")])
    return len(chat.engine.tokenize(talk.pieces())[0])


def count_anew(chat: Chat) -> None:
    """Has the chat know what its conversation takes, where turns of it have gone."""
    chat.used = None
    if chat.info is None or not chat.conversation.messages or not chat.engine.is_loaded():
        return
    with suppress(MinichatError):  # whoever asks the engine next is told
        chat.used = prompt_tokens(chat)


def turn_tokens(chat: Chat, turn: Turn) -> int:
    """What a turn takes in the prompt: what it takes alone, without a system prompt, tools and the beginning."""
    messages = list(chat.conversation.messages[turn.start : turn.end])
    template = chat.conversation.template
    is_mistral = template not in (None, EMBEDDED)
    has_bos = is_mistral or (template is None and chat.conversation.bos is not None)
    is_closed = is_mistral and messages[-1].role == "assistant"
    if is_closed:
        messages[-1] = replace(messages[-1], prefix=True)  # else it could not stand at a prompt's end
        if len(messages) == 1:
            messages.insert(0, Message("user", ""))
    alone = replace(chat.conversation, system=None, tools=(), messages=messages)
    return len(chat.engine.tokenize(alone.pieces())[0]) - has_bos + is_closed  # the end of the answer


def enlarge(chat: Chat, ctx: int) -> None:
    """Goes on with a context of `ctx` tokens. UsageError, and all as it was, if that cannot be had."""
    try:
        chat.resize(ctx)
    except DataError as error:
        raise UsageError(f"no context of {ctx:,} tokens: {error}") from error
    chat.load = replace(chat.load, ctx=ctx)
    chat.choices = chat.choices.with_choice("ctx", ctx)
    say(f"(the context holds {ctx:,} tokens now)", "dim")


def _choice(offers: dict[str, str]) -> str:
    """The key of an offer that is taken, or "n"."""
    drop_typed_ahead()
    for key, offer in (offers | {"n": "send nothing"}).items():
        say(f"  {key}  {offer}", hanging=5)
    for _ in range(_TRIES):
        line = read_line(sys.stdout, f"Which one? [{'/'.join([*offers, 'N'])}] ")
        answer = "n" if line is None else line.strip().lower()
        if answer in ("", "n", "no"):
            return "n"
        if answer[:1] in offers:
            return answer[:1]
        print_error(f"one of {', '.join([*offers, 'n'])}", sys.stdout)
    return "n"


def turns_to_drop(chat: Chat, room: int, ctx: int) -> int:
    """How many of the oldest turns have to go: so that half of the context is free, if that can be, else `room`.

    Freeing more than is needed now spares the next turns the question, and the decoding of all that stays.
    """
    last = len(chat.conversation.turns()) - 1
    for wanted in (max(room, ctx // 2), room):
        low, high = 1, last  # the fewest; dropping more never makes a prompt longer
        while low < high:
            middle = (low + high) // 2
            if _left(chat, middle) + wanted <= ctx:
                high = middle
            else:
                low = middle + 1
        if last >= 1 and _left(chat, low) + wanted <= ctx:
            return low
    return 0


def _left(chat: Chat, dropped: int) -> int:
    """Tokens of the prompt without its oldest `dropped` turns."""
    less = replace(chat.conversation, messages=list(chat.conversation.messages))
    less.drop(1, dropped)
    return prompt_tokens(chat, less)


def _larger(needed: int, ctx: int, most: int) -> int:
    """A context for `needed` tokens: twice the old one, or twice that …; the model's own at most; 0 if there is none.

    >>> _larger(1310, 1024, 32768), _larger(9000, 1024, 10000), _larger(1310, 1024, 1024)
    (2048, 10000, 0)
    """
    larger = ctx
    while larger < needed:
        larger *= 2
    larger = min(larger, most)
    return larger if larger > ctx and larger >= needed else 0
