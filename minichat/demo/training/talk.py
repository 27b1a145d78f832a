"""Whole conversations, made from a seed: the same seed and pieces give the same conversations.

Standard library only. `training_conversation` makes what the model learns from, `test_conversation` what it is judged
by: its last question is held out, and the check says what a right answer looks like.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass, replace

from . import skills, styles
from .memory import LAST, Memory, repeat
from .split import TEST, TRAIN, pick, plain
from .styles import Check, Style
from .turns import Turn, roughen

MIX = {"minichat": 34, "small talk": 13, "sums": 16, "capitals": 10, "languages": 14, "not knowing": 13, "memory": 18,
       "repeating": 6}  # fmt: skip
SKILLS = (*MIX, "system prompts")
NO_STYLE = Style("none")


@dataclass(frozen=True)
class Conversation:
    system: str
    turns: tuple[tuple[str, str], ...]
    """(what the user says, what the model answers)"""
    check: Check = Check()  # noqa: RUF009 - frozen
    """How the last answer is judged."""
    skill: str = ""
    kind: str = ""
    """The system prompt's kind, of a test of system prompts."""


class Talk:
    """One conversation in the making."""

    def __init__(self, rng: random.Random, pieces: Sequence[str], style: Style = NO_STYLE) -> None:
        self.rng, self.pieces, self.style = rng, pieces, style
        self.memory = Memory(pieces)
        self.turns: list[tuple[str, str]] = []
        self.check = Check()

    def add(self, turn: Turn, rough: bool = True) -> None:
        answer, self.check = self.style.apply(turn)
        user = roughen(self.rng, turn) if rough else turn.user
        self.turns.append((turn.user if plain(user) in skills.held_out_sentences() else user, answer))

    def a_turn(self, skill: str, split: str) -> Turn:
        rng = self.rng
        if skill == "minichat":
            return skills.minichat(rng, split)
        if skill == "small talk":
            return skills.small_talk(rng, split)
        if skill == "sums":
            return skills.sums(rng, split)
        if skill == "capitals":
            return skills.capitals(rng, split)
        if skill == "languages":
            return skills.languages(rng, split)
        if skill == "not knowing":
            return skills.hard_sums(rng, split) if rng.random() < 0.15 else skills.unknown(rng, split)
        if skill == "repeating":
            return self.a_repetition(split)
        return self.a_memory(split)

    def a_repetition(self, split: str) -> Turn:
        if self.turns and self.rng.random() < 0.2:
            said = self.turns[-1][0]
            return Turn("repeating", pick(self.rng, LAST, split), f'You said: "{said}"', (said,), f"« {said} »")
        return repeat(self.rng, split, self.pieces)

    def a_memory(self, split: str) -> Turn:
        """Tell something, or ask for something told, now and then for something never told."""
        known = list(self.memory.known)
        draw = self.rng.random()
        if known and draw < 0.55:
            return self.memory.ask(self.rng, split, self.rng.choice(known))
        if draw > 0.88:
            key = self.memory.a_key(self.rng)
            return self.memory.ask(self.rng, split, key)
        return self.memory.tell(self.rng, split)

    def done(self, skill: str = "") -> Conversation:
        return Conversation(self.style.system, tuple(self.turns), self.check, skill)


def training_conversation(rng: random.Random, pieces: Sequence[str], longest: int = 9) -> Conversation:
    style = styles.a_style(rng, TRAIN, pieces) if rng.random() < 0.6 else NO_STYLE
    talk = Talk(rng, pieces, style)
    n = rng.choice((1, 1, 1, 2, 2, 3, 3, 4, 5, rng.randint(4, longest)))
    # A few skills a conversation, so that earlier turns matter more than chance would have it.
    weights = {skill: weight * rng.choice((0.2, 1, 1, 2)) for skill, weight in MIX.items()}
    for _ in range(n):
        skill = rng.choices(list(weights), list(weights.values()))[0]
        talk.add(talk.a_turn(skill, TRAIN))
    known = list(talk.memory.known)
    if known and rng.random() < 0.7:
        talk.add(talk.memory.ask(rng, TRAIN, rng.choice(known)))
    return talk.done()


def test_conversation(rng: random.Random, pieces: Sequence[str], skill: str, kind: str = "") -> Conversation:
    """A conversation whose last question is held out. kind: which system prompt, for that skill."""
    style = NO_STYLE
    last = skill
    if skill == "system prompts":
        kinds = [k for k in styles.KINDS if k != "neutral"]
        style = styles.a_style(rng, TEST, pieces, kind or rng.choice(kinds))
        last = rng.choice(("minichat", "small talk", "sums", "capitals", "languages", "not knowing", "memory"))
    talk = Talk(rng, pieces, style)
    others = [s for s in MIX if s not in ("memory", "repeating")]
    if last == "memory":
        key = talk.memory.a_key(rng)
        absent = rng.random() < 0.1
        if not absent:
            talk.add(talk.memory.tell(rng, TEST, key), rough=False)
        for _ in range(rng.randint(0, 3)):
            talk.add(talk.a_turn(rng.choice(others), TRAIN))
        talk.add(talk.memory.ask(rng, TEST, key), rough=False)
    else:
        for _ in range(rng.choice((0, 0, 1, 2))):
            talk.add(talk.a_turn(rng.choice(others), TRAIN))
        talk.add(talk.a_turn(last, TEST), rough=rng.random() < 0.3)
    return replace(talk.done(), skill=skill, kind=style.kind)
