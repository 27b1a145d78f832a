"""Whole conversations, made from a seed: the same seed and pieces give the same conversations.

Standard library only. `training_conversation` makes what the model learns from, `test_conversation` what it is judged
by: its last question is held out, and the check says what a right answer looks like.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass, replace

from . import skills, styles, tools
from .extraction import SYSTEM, extraction
from .memory import LAST, Memory, repeat
from .split import TEST, TRAIN, pick, plain
from .styles import Check, Style
from .turns import CALLS, Calls, Results, Turn, roughen

MIX = {"minichat": 34, "small talk": 13, "sums": 14, "capitals": 9, "languages": 11, "not knowing": 14, "memory": 18,
       "repeating": 13, "JSON": 26}  # fmt: skip
TOOL_SKILLS = ("tool calls", "tool results", "no call")
SKILLS = (*MIX, *TOOL_SKILLS, "system prompts")
WITH_TOOLS, ALL_JSON = 0.3, 0.14
"""The parts of the conversations that have tools, and in which the system prompt asks for JSON."""
NO_STYLE = Style("none")
NO_CALL = Check(never=(CALLS,))


@dataclass(frozen=True)
class Conversation:
    system: str
    turns: tuple[tuple[str | Results, str], ...]
    """(what the user says, what the model answers); with tools, also (the results, …) and (…, the calls)"""
    check: Check = Check()  # noqa: RUF009 - frozen
    """How the last answer is judged."""
    skill: str = ""
    kind: str = ""
    """The system prompt's kind, of a test of system prompts."""
    tools: str = ""
    """The tools on offer, as the template's JSON."""


class Talk:
    """One conversation in the making."""

    def __init__(self, rng: random.Random, pieces: Sequence[str], style: Style = NO_STYLE) -> None:
        self.rng, self.pieces, self.style = rng, pieces, style
        self.memory = Memory(pieces)
        self.turns: list[tuple[str | Results, str]] = []
        self.check = Check()
        self.tools = ""

    def add(self, turn: Turn, rough: bool = True) -> None:
        answer, self.check = self.style.apply(turn)
        user = roughen(self.rng, turn) if rough else turn.user
        self.turns.append((turn.user if plain(user) in skills.held_out_sentences() else user, answer))

    def add_steps(self, steps: Sequence[tools.Step]) -> None:
        for step in steps:
            answer, self.check = str(step.answer), Check(calls=str(step.answer))
            if isinstance(step.answer, Calls):
                self.turns.append((step.asked, step.answer))
            else:
                answer, self.check = self.style.apply(step.answer)
                self.turns.append((step.asked, answer))

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
        if skill == "JSON":
            return extraction(rng, split, self.pieces)
        if skill == "not knowing" and not self.tools and split != TEST and rng.random() < 0.12:
            return tools.without_tool(rng, split, self.pieces, rng.choice(("weather", "weather", "time")))
        if skill == "not knowing":
            return skills.hard_sums(rng, split) if rng.random() < 0.15 else skills.unknown(rng, split)
        if skill == "repeating":
            return self.a_repetition(split)
        return self.a_memory(split)

    def a_repetition(self, split: str) -> Turn:
        if self.turns and isinstance(self.turns[-1][0], str) and self.rng.random() < 0.2:
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
        return Conversation(self.style.system, tuple(self.turns), self.check, skill, tools=self.tools)


def training_conversation(rng: random.Random, pieces: Sequence[str], longest: int = 9) -> Conversation:
    draw = rng.random()
    if draw < WITH_TOOLS:
        return tool_conversation(rng, pieces)
    if draw < WITH_TOOLS + ALL_JSON:
        return json_conversation(rng, pieces)
    style = styles.a_style(rng, TRAIN, pieces) if rng.random() < 0.6 else NO_STYLE
    talk = Talk(rng, pieces, style)
    n = rng.choice((1, 1, 1, 2, 2, 3, 3, 4, 5, rng.randint(4, longest)))
    # A few skills a conversation, so that earlier turns matter more than chance would have it.
    weights = {skill: weight * rng.choice((0.2, 1, 1, 2)) for skill, weight in MIX.items()}
    if style.kind not in ("none", "neutral"):
        weights["JSON"] = 0
    for _ in range(n):
        skill = rng.choices(list(weights), list(weights.values()))[0]
        talk.add(talk.a_turn(skill, TRAIN))
    known = list(talk.memory.known)
    if known and rng.random() < 0.7:
        talk.add(talk.memory.ask(rng, TRAIN, rng.choice(known)))
    return talk.done()


def json_conversation(rng: random.Random, pieces: Sequence[str], split: str = TRAIN) -> Conversation:
    """Texts that become JSON because the system prompt says so."""
    talk = Talk(rng, pieces, Style("json", pick(rng, SYSTEM, split)))
    for _ in range(1 if split == TEST else rng.choice((1, 1, 2, 3))):
        talk.add(extraction(rng, split, pieces, asked=True), rough=False)
    return talk.done("JSON")


TOOL_SYSTEM = (
    "Use the tools when you need them.", "You can call tools.", "You are a helpful assistant with access to tools.",
    "You have tools. Use them.", "Call a tool if it helps.", "You are a weather assistant.", "Use tools if needed.",
    "You are a helpful assistant. Call a function when it is needed, and answer the user otherwise.",
)  # fmt: skip


def tool_conversation(rng: random.Random, pieces: Sequence[str], split: str = TRAIN, skill: str = "") -> Conversation:
    """Tools on offer. In the test, skill says what the last answer is: calls, words about results, or neither."""
    test = split == TEST
    style = styles.a_style(rng, TRAIN, pieces) if rng.random() < (0.15 if test else 0.4) else NO_STYLE
    if style.kind == "none" and rng.random() < 0.12:
        style = Style("neutral", rng.choice(TOOL_SYSTEM))
    if test and style.kind != "neutral":
        style = NO_STYLE
    talk = Talk(rng, pieces, style)
    draw = {"tool calls": 0.0, "tool results": 0.0, "no call": 1.0}.get(skill, rng.random())
    if draw < 0.68:
        shape = "format" if test and rng.random() < 0.8 else ""
        box = tools.toolbox(rng, "weather" if test or rng.random() < 0.7 else "", shape=shape)
    elif draw < 0.78 or (test and rng.random() < 0.2):
        box = tools.toolbox(rng, never="weather")
    else:
        box = tools.toolbox(rng)
    kinds = [tool.kind for tool in box]
    talk.tools = tools.tools_json(rng, box)
    before(talk, box)
    if draw < 0.68:
        weather = box[kinds.index("weather")] if "weather" in kinds else None
        if weather and not test and rng.random() < 0.06:
            talk.add(Turn("tool results", pick(rng, tools.ASK_NOWHERE, TRAIN), tools.WHICH_CITY, (tools.WHICH_CITY,)))
            question = tools.weather_question(rng, TRAIN, pieces, weather, ("{c}", "In {c}", "in {c}.", "{c}!"))
        elif weather and not test and rng.random() < 0.15 and talk.turns and isinstance(talk.turns[-1][0], Results):
            question = tools.weather_question(rng, TRAIN, pieces, weather, tools.ASK_AGAIN)
        else:
            question = tools.a_question(rng, split, pieces, box)
        steps = tools.a_use(rng, question, complaint=not test and rng.random() < 0.1)
        if skill == "tool calls" or (not test and rng.random() < 0.25):
            steps = steps[:1] if isinstance(steps[0].answer, Calls) and len(steps) == 2 else steps
        talk.add_steps(steps)
    elif "weather" not in kinds and (draw < 0.78 or test):
        kind = "time" if "time" not in kinds and rng.random() < 0.3 else "weather"
        talk.add(tools.without_tool(rng, split, pieces, kind), rough=False)
    else:
        names = [s for s in MIX if s != "JSON" or style.kind in ("none", "neutral")]
        if test:
            names = ["minichat", "small talk", "sums", "capitals", "languages", "not knowing"]
        talk.add(talk.a_turn(rng.choices(names, [MIX[s] for s in names])[0], split))
        if test:
            talk.check = NO_CALL
    return talk.done(skill)


def before(talk: Talk, box: Sequence[tools.Tool]) -> None:
    """What went before the last question of a conversation with tools: now and then calls and their results."""
    rng = talk.rng
    others = [s for s in MIX if s not in ("memory", "repeating", "JSON")]
    for _ in range(rng.choice((0, 0, 0, 0, 0, 0, 1, 1, 2))):
        if rng.random() < 0.45:
            talk.add_steps(tools.a_use(rng, tools.a_question(rng, TRAIN, talk.pieces, box), earlier=True))
        else:
            talk.add(talk.a_turn(rng.choice(others), TRAIN))


def test_conversation(rng: random.Random, pieces: Sequence[str], skill: str, kind: str = "") -> Conversation:
    """A conversation whose last question is held out. kind: which system prompt, for that skill."""
    if skill in TOOL_SKILLS:
        return tool_conversation(rng, pieces, TEST, skill)
    if skill == "JSON" and rng.random() < 0.15:
        return json_conversation(rng, pieces, TEST)
    style = NO_STYLE
    last = skill
    if skill == "system prompts":
        kinds = [k for k in styles.KINDS if k != "neutral"]
        style = styles.a_style(rng, TEST, pieces, kind or rng.choice(kinds))
        last = rng.choice(("minichat", "small talk", "sums", "capitals", "languages", "not knowing", "memory"))
    talk = Talk(rng, pieces, style)
    others = [s for s in MIX if s not in ("memory", "repeating", "JSON")]
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
        talk.add(talk.a_turn(last, TEST), rough=last != "JSON" and rng.random() < 0.3)
    return replace(talk.done(), skill=skill, kind=style.kind)
