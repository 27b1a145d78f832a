"""A chat on a real model: whatever command is used, only what is new is decoded. What is new is counted from the
prompts themselves: their ids behind what the prompt before them, and its answer, had in common with them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path

import pytest

from minichat.conversation import Conversation
from minichat.engine.client import Engine
from minichat.engine.types import LoadOptions, Sampling
from minichat.models import Model
from minichat.sessions import Sessions
from minichat.terminal.chat import Chat, Opened
from minichat.terminal.commands import dispatch, parse
from minichat.terminal.turn import ask

LOAD = LoadOptions(ctx=2048, threads=1, device="cpu", speculation=False)


@pytest.fixture
def chat(small_gguf: Path) -> Iterator[Chat]:
    sessions = Sessions.default()
    chat = Chat(
        engine=Engine(small_gguf, LOAD),
        open_engine=partial(Engine, small_gguf),
        conversation=Conversation("v7-tekken", "Be brief."),
        sampling=Sampling(0, seed=1),
        max_tokens=6,
        model_name="small.gguf",
        history_path=None,
        load=LOAD,
        open_model=lambda name: Opened(Model(name, small_gguf), partial(Engine, small_gguf)),
        sessions=sessions,
        session=sessions.new(),
    )
    yield chat
    if chat.session is not None:
        chat.session.close()
    chat.engine.close()


def command(chat: Chat, line: str) -> None:
    parsed = parse(line)
    assert parsed is not None
    assert not dispatch(chat, *parsed)


class Counted:
    """The chat's prompts as ids, and what the engine should have of each: what it read and said before."""

    def __init__(self, chat: Chat) -> None:
        self.chat = chat
        self._known: list[list[int]] = []

    def decodes(self, act: Callable[[], None]) -> int:
        """How many tokens of a prompt were decoded; that those were all that is new."""
        act()
        self.chat.save()
        stats, messages = self.chat.stats, self.chat.conversation.messages
        assert stats is not None
        assert messages[-1].tokens is not None
        prompt = self.chat.engine.tokenize(self.chat.last_prompt)[0]
        new = min(len(prompt) - _shared(known, prompt[:-1]) for known in [*self._known, []])
        assert (stats.prompt_tokens, stats.decoded_tokens) == (len(prompt), new)
        said = messages[-1].tokens[-stats.answer_tokens :]
        self._known = [[*prompt, *said[:-1]]]  # the last token of an answer is drawn, and not decoded
        return stats.decoded_tokens


def _shared(ids: Sequence[int], others: Sequence[int]) -> int:
    return next((n for n, (a, b) in enumerate(zip(ids, others, strict=False)) if a != b), min(len(ids), len(others)))


def test_every_command_decodes_what_is_new(chat: Chat) -> None:
    counted = Counted(chat)

    def say(text: str, at: int | None = None) -> int:
        return counted.decodes(lambda: ask(chat, text, at))

    first = say("Hello there, how are you?")
    costs = [say(f"Question number {n}, of the same length") for n in range(10, 29)]
    assert max(costs) - min(costs) <= 2  # turn 20 costs what turn 2 did
    assert max(costs) < 2 * first
    assert counted.decodes(lambda: command(chat, "/retry")) == 1
    assert counted.decodes(lambda: command(chat, "/continue")) <= 2
    assert chat.stats is not None
    whole = chat.stats.prompt_tokens
    command(chat, "/undo")
    assert say("Another last question") < whole // 8
    assert say("A new word in turn 18", at=18) < whole // 8
    command(chat, "/drop 17")
    assert say("And now?") < whole // 4
    command(chat, "/drop 1")  # everything stood behind that
    assert say("And now?") > whole // 2
