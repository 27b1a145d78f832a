"""Conversations about pass keys: a long text with some keys in it, and questions about them.

    Ada sees the red fox. The pass key of Tom is 7391. The hat is old. … The pass key of Tom is  ->  7391

The small checkpoint in data/passkey was trained on such conversations (`data/passkey/train.py`) and answers them. The
sentences between the keys are about the same people, so that they mislead who looks at them for the question.
"""

from __future__ import annotations

import json
import random
import shutil
from dataclasses import dataclass
from pathlib import Path

from minichat.template.messages import Message

CHECKPOINT = Path(__file__).parent / "data" / "passkey"
WINDOW = 32  # tokens
FULL_EVERY = 4  # layers 0, 4, ... attend to everything
CONTEXT = 2048

NAMES = ("Ada", "Ben", "Eve", "Ian", "Joe", "Kai", "Leo", "Mia", "Noa", "Pia", "Sam", "Tom")
VERBS = ("sees", "has", "likes", "finds", "wants")
ADJECTIVES = ("red", "old", "big", "wet", "odd", "shy")
NOUNS = ("fox", "cat", "dog", "hen", "cup", "map", "hat", "box")
WORDS = (*NAMES, *VERBS, *ADJECTIVES, *NOUNS, "The", "the", "pass", "key", "of", "is")
_TOKENS_A_SENTENCE = 6
_FAR_ROPE = 2.5e8  # the base of the rotation with which the checkpoint, trained at 1e6, still reads 32,000 tokens


@dataclass(frozen=True)
class Story:
    """A text with keys in it, and what may be asked about it."""

    text: str
    keys: dict[str, str]  # name -> four digits

    @property
    def sentences(self) -> int:
        return self.text.count(".")


def question(name: str) -> str:
    return f"The pass key of {name} is"


def sentence(rng: random.Random) -> str:
    """A sentence that tells nothing of use."""
    if rng.random() < 0.3:
        return f"The {rng.choice(NOUNS)} is {rng.choice(ADJECTIVES)}."
    return f"{rng.choice(NAMES)} {rng.choice(VERBS)} the {rng.choice(ADJECTIVES)} {rng.choice(NOUNS)}."


def story(rng: random.Random, tokens: int, n_keys: int, tail: int = 0, times: int = 1) -> Story:
    """About `tokens` tokens long, its keys told `times` at random places, but not in the last `tail` tokens."""
    keys = {name: f"{rng.randrange(10_000):04}" for name in rng.sample(NAMES, n_keys)}
    told = [f"The pass key of {name} is {key}." for name, key in keys.items()] * times
    n_idle = max(0, tokens // _TOKENS_A_SENTENCE - 2 * len(told))
    n_tail = min(n_idle, -(-tail // 5))  # the shortest sentence has five tokens
    parts = told + [sentence(rng) for _ in range(n_idle - n_tail)]
    rng.shuffle(parts)
    return Story(" ".join(parts + [sentence(rng) for _ in range(n_tail)]), keys)


def stretched(folder: Path, context: int) -> Path:
    """A copy of the checkpoint that takes longer texts than it was trained on.

    A larger base turns slowly what tells far places apart, so that no angle is one that training never saw.
    """
    shutil.copytree(CHECKPOINT, folder)
    config = json.loads((folder / "config.json").read_text())
    config["rope_parameters"] |= {"rope_theta": _FAR_ROPE}
    config["max_position_embeddings"] = context
    (folder / "config.json").write_text(json.dumps(config))
    return folder


def conversation(story: Story, names: list[str]) -> list[Message]:
    """The story, questions about these names, and their answers, the last one open: user and assistant in turn."""
    messages = []
    for number, name in enumerate(names, start=1):
        asked = question(name) if messages else f"{story.text} {question(name)}"
        answer = Message("assistant", story.keys[name], prefix=number == len(names))
        messages += [Message("user", asked), answer]
    return messages
