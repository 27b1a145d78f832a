"""One question and its answer: a `Turn`. With tools, calls may stand for an answer, and results for a question."""

from __future__ import annotations

import random
from dataclasses import dataclass


@dataclass(frozen=True)
class Turn:
    skill: str
    user: str
    answer: str
    must: tuple[str, ...]
    """What a right answer contains, any case."""
    french: str = ""
    exact: bool = False
    """Whether letters count in `user` (a name, a text to repeat): it is not lower-cased or misspelled."""
    never: tuple[str, ...] = ()
    """What a right answer does not contain."""


@dataclass(frozen=True)
class Results:
    """What tools gave back, where the user's message would stand."""

    results: tuple[tuple[str, str], ...]
    """(the call's id, the text)"""


class Calls(str):
    """An answer that calls tools: the JSON after `[TOOL_CALLS]`."""


class WrongCalls(Calls):
    """Calls that a tool complained about: never learned."""


CALLS = "[TOOL_CALLS]"
"""How the text of a model's answer shows that it is calls."""


BEFORE = ("Hi, ", "Hey! ", "Hello! ", "Please: ", "Quick question: ", "Excuse me, ", "OK. ", "And ", "So, ", "Well, ",
          "Now tell me: ", "One more thing: ", "Another question: ", "Hi there. ", "Good. ", "Thanks. ", "Alright, ",
          "I have a question. ", "Um, ", "Next question: ", "Sorry, ", "By the way, ")  # fmt: skip
AFTER = (" Thanks!", " Thank you.", " please", " Please.", " Thanks in advance.", " :)", "!", " ...", " thx")


def roughen(rng: random.Random, turn: Turn) -> str:
    """The question as a person in a hurry may type it."""
    text = turn.user
    if turn.skill in ("minichat", "small talk", "not knowing") and rng.random() < 0.35:
        text = reword(rng, text)
        if rng.random() < 0.3:
            text = reword(rng, text)
    if rng.random() < 0.12:
        before = rng.choice(BEFORE)
        text = before + (text[:1].lower() + text[1:] if before.endswith(", ") and not turn.exact else text)
    copied = turn.skill in ("repeating", "JSON")  # its end counts
    if rng.random() < 0.2 and not copied:
        text = text.rstrip("?.!")
    if rng.random() < 0.07 and not copied:
        text += rng.choice(AFTER)
    if turn.exact:
        return text
    if rng.random() < 0.2:
        text = text.lower()
    elif rng.random() < 0.02:
        text = text.upper()
    if rng.random() < 0.08 and len(text) > 8:
        text = misspell(rng, text)
    return text


FILLERS = (
    "please", "now", "just", "really", "then", "well", "maybe", "actually", "so", "oh", "my", "the", "a", "here",
    "again", "today", "simply", "quickly", "exactly", "friend", "you", "me", "it", "this", "that", "ok", "hey",
    "hm", "too", "very", "kindly", "somehow", "perhaps", "also", "still", "first", "right", "dear", "bot", "and",
    "but", "for", "with", "in", "some", "any", "all", "thing", "way", "one", "more", "good", "quick", "new",
    "really,", "please,", "well,", "um,",
)  # fmt: skip
DROPPED = frozenset((
    "how", "do", "i", "to", "a", "the", "is", "what", "can", "you", "me", "my", "of", "does", "which", "command",
    "it", "are", "am", "please", "in", "for", "with", "that", "there", "should", "tell", "would", "want", "need",
    "i'm", "so",
))  # fmt: skip


def reword(rng: random.Random, text: str) -> str:
    """A small word put in, left out or moved, so that the words that count are learned, not whole sentences.

    >>> reword(random.Random(1), "How do I leave the chat?")
    'How do I leave the chat? good'
    """
    parts = text.split(" ")
    draw = rng.random()
    if draw < 0.55 or len(parts) < 3:
        parts.insert(rng.randint(0, len(parts)), rng.choice(FILLERS))
    elif draw < 0.85:
        small = [i for i, part in enumerate(parts) if part.lower() in DROPPED]
        for i in sorted(rng.sample(small, min(len(small), rng.randint(1, 2))), reverse=True):
            del parts[i]
    else:
        i = rng.randrange(len(parts) - 1)
        parts[i], parts[i + 1] = parts[i + 1], parts[i]
    return " ".join(parts) or text


def misspell(rng: random.Random, text: str) -> str:
    """One letter dropped, doubled, or swapped with the next."""
    places = [i for i in range(1, len(text) - 1) if text[i].isalpha() and text[i + 1].isalpha()]
    if not places:
        return text
    i = rng.choice(places)
    swapped = text[:i] + text[i + 1] + text[i] + text[i + 2 :]
    return rng.choice((text[:i] + text[i + 1 :], text[: i + 1] + text[i:], swapped))
