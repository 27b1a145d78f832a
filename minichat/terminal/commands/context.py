"""/context, /drop, /compact, /tokens, /stats, /clear."""

from __future__ import annotations

from typing import TYPE_CHECKING

from minichat.terminal.commands.answers import excerpt, turn_numbers, turn_of
from minichat.terminal.commands.command import Command
from minichat.terminal.output import say
from minichat.worded import worded
from quant.errors import UsageError

if TYPE_CHECKING:
    from minichat.terminal.chat import Chat


def _context(chat: Chat, argument: str) -> bool:  # noqa: ARG001
    from minichat.terminal.fitting import prompt_tokens, turn_tokens, turns_to_drop
    from minichat.terminal.tables import print_table
    from minichat.terminal.turn import answer_room, ready

    info = ready(chat)
    turns = chat.conversation.turns()
    total = prompt_tokens(chat) if turns else 0
    counts = [turn_tokens(chat, turn) for turn in turns]
    goes = turns_to_drop(chat, answer_room(chat, info), info.ctx) if total > info.ctx * 3 // 4 else 0
    rows = [
        [str(turn.number), f"{count:,}", excerpt(worded(chat.conversation.messages[turn.start].content), 40)]
        + (["would be dropped first"] if turn.number <= goes else [""])
        for turn, count in zip(turns, counts, strict=True)
    ]
    if (rest := total - sum(counts)) > 0 and (chat.conversation.system or chat.conversation.tools):
        rows.insert(0, ["", f"{rest:,}", "system prompt and tools", "always kept"])
    if rows:
        print_table(["TURN", "TOKENS", "QUESTION", ""], rows, right=(0, 1), drop=(3,))
    used = f"{total:,} of {info.ctx:,} tokens ({total / info.ctx:.0%})"
    say(f"{used}; the model was trained for {info.ctx_train:,}", "dim")
    return False


def _drop(chat: Chat, argument: str) -> bool:
    from minichat.terminal.fitting import count_anew

    if not argument:
        raise UsageError("/drop N: which turn? /context lists them")
    turn = turn_of(chat, argument)
    question = worded(chat.conversation.messages[turn.start].content)
    chat.conversation.drop(turn.number, turn.number)
    count_anew(chat)
    say(f"(dropped turn {turn.number}: {excerpt(question)})", "dim")
    return False


def _compact(chat: Chat, argument: str) -> bool:
    from minichat.terminal.compacting import compact
    from minichat.terminal.turn import ready

    count = turn_of(chat, argument).number if argument else len(chat.conversation.turns()) - 1
    if count < 1:
        raise UsageError("there is no older turn to summarise (/compact N takes the turns up to N)")
    ready(chat)
    compact(chat, count)
    return False


def _tokens(chat: Chat, argument: str) -> bool:  # noqa: ARG001
    if not chat.last_prompt:
        say("no prompt yet: /tokens shows what the model was given for its last answer", "dim")
        return False
    from minichat.terminal.render import print_rendering

    ids, spans = chat.engine.tokenize(chat.last_prompt)
    print_rendering(spans)
    say(f"({len(ids):,} tokens)", "dim")
    return False


def _stats(chat: Chat, argument: str) -> bool:  # noqa: ARG001
    if chat.stats is None:
        say("no answer yet: /stats tells what the last one cost", "dim")
        return False
    from minichat.chat import describe_stats

    say(describe_stats(chat.stats))
    if chat.info is not None:
        used = chat.stats.context_tokens
        say(f"context {used:,} of {chat.info.ctx:,} tokens; {chat.info.threads} threads; seed {chat.stats.seed}")
    return False


def _clear(chat: Chat, argument: str) -> bool:  # noqa: ARG001
    chat.save()
    kept = chat.session
    if kept is not None and kept.is_on_disk:
        chat.keep_warm()
        kept.close()
        chat.session = chat.sessions.new()
        say(f"the conversation starts afresh; /load {kept.name} brings the old one back", "dim")
    else:
        say("the conversation starts afresh", "dim")
    chat.conversation.clear()
    chat.stats, chat.used, chat.last_prompt, chat.unsent = None, None, [], None
    return False


COMMANDS: tuple[Command, ...] = (
    Command("context", "", "tokens of each turn, and what would be dropped first", _context),
    Command("drop", "N", "leave turn N out", _drop, turn_numbers),
    Command("compact", "[N]", "the turns before the last, or up to N, become a summary", _compact, turn_numbers),
    Command("tokens", "", "the last prompt as the model saw it", _tokens),
    Command("stats", "", "what the last answer cost", _stats),
    Command("clear", "", "begin a new conversation", _clear),
)
