"""What is asked about a scene, and the true answer. Phrasings under TEST are never trained on."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from itertools import product

from .scenes import COLOURS, DIGITS, SHAPES, Item, Scene

NUMBERS = ("no", "one", "two", "three", "four", "five")
NO_PICTURE = "I see no picture here. Give me one with --image FILE, or write @FILE."

TEST_DESCRIBE = ("What can you see?", "Please describe this picture.", "What is in the image?")
TEST_COUNT = ("How many objects do you see?", "How many things are there?")
TEST_COLOUR = ("What is the colour?", "Which color is this?")
TEST_COLOURS = ("Which color are they?",)
TEST_SHAPE = ("What is the shape?", "What kind of shape is this?")
TEST_SHAPES = ("Which shapes are these?",)
TEST_DIGIT = ("Which digit is it?", "Which number do you see?", "What number is this?")
TEST_COLOUR_OF = ("Which color is the {}?",)
TEST_SHAPE_OF = ("Which shape is the {} one?",)
TEST_COUNT_OF = ("How many {} are in the picture?",)
TEST_IS_THERE = ("Is a {} in the picture?", "Is there a {} in the picture?")
TEST_TALK = ("Good morning", "What is minichat?")

WHICH = ("What", "Which")
COLOUR_WORDS = ("colour", "color")
WHERE = ("", " here", " in this picture", " in the picture", " in this image", " in the image", " in the photo")


def worded(*parts: tuple[str, ...], end: str = "?", but: tuple[str, ...] = ()) -> tuple[str, ...]:
    """Every sentence of one of each of the parts, but those that the test asks.

    >>> worded(("What",), (" is it", " is this"), ("", " here"), but=("What is it here?",))
    ('What is it?', 'What is this?', 'What is this here?')
    """
    sentences = ("".join(words) + end for words in product(*parts))
    return tuple(s for s in sentences if s not in but)


DESCRIBE = (
    *worded(("What do you see", "What can you see", "What is", "What's", "What is shown"), WHERE, but=TEST_DESCRIBE),
    *worded(("Describe the picture", "Describe this image", "Describe what you see", "Describe it"), ("",), end="."),
    *worded(("Please describe ", "describe "), ("it", "the picture", "this image", "the image"), end=""),
    "What is this?", "What is this?", "what is it?", "What does the picture show?", "Tell me what you see.",
    "What is on the picture?", "Describe this picture.", "", "",
)  # fmt: skip
COUNT = (
    *worded(("How many",), (" shapes", " things", " objects", ""), (" are there", " are"), WHERE[1:], but=TEST_COUNT),
    *worded(("How many shapes", "How many", "How many things"), (" do you see", " can you see", " are shown"),
            but=TEST_COUNT),
    *worded(("Count ",), ("the shapes", "them", "the things", "the objects"), end="."),
    "How many shapes?", "How many?", "How many are there?", "How many shapes are there?", "How many objects are there?",
    "How many objects can you see?",
)  # fmt: skip
COLOUR = (
    *worded(WHICH, (" ",), COLOUR_WORDS, (" is it", " is this", " does it have", " do you see", ""), but=TEST_COLOUR),
    *worded(("What is its ", "Name the ", "Tell me the ", "What's the "), COLOUR_WORDS, end="."),
    "What is the color?",
)
COLOURS_OF_MANY = worded(
    WHICH, (" ",), COLOUR_WORDS, (" are they", " are these", " do they have", " is it", ""), but=TEST_COLOURS
)
SHAPE = (
    *worded(WHICH, (" shape is ",), ("it", "this", "that", "in the picture", "here", "shown")),
    *worded(WHICH, (" shape do you see", " shape can you see", " shape"), ("",)),
    *worded(("What kind of shape is ", "What sort of shape is "), ("it", "that", "this"), but=TEST_SHAPE),
    "Name the shape.", "What is its shape?", "Tell me the shape.", "What's the shape?",
)  # fmt: skip
SHAPES_OF_MANY = (
    *worded(WHICH, (" shape", " shapes"), (" are they", " are these", " do you see", " are there"), but=TEST_SHAPES),
    "What shape is it?", "Name the shape.",
)  # fmt: skip
DIGIT = (
    *worded(WHICH, (" digit", " number"), (" is this", " is it", " do you see", " can you see"), but=TEST_DIGIT),
    *worded(WHICH, (" digit", " number"), (" is",), (" drawn here", " shown", " in the picture", " here", " written")),
    *worded(("Read the ", "Name the ", "Tell me the "), ("digit", "number"), end="."),
)
COLOUR_OF = (
    *worded(WHICH, (" ",), COLOUR_WORDS, (" is the {}",), ("", "", *WHERE[3:5]), but=TEST_COLOUR_OF),
    *worded(("What is the ", "Name the "), COLOUR_WORDS, (" of the {}",)),
)
SHAPE_OF = (
    *worded(WHICH, (" shape is {}", " is {}", " one is {}", " thing is {}")),
    *worded(("What is the {} one", "What shape is the {} one", "What is the {} shape", "Which is the {} one")),
)
COUNT_OF = (
    *worded(("How many {}",), (" are there", " are", " do you see", " can you see"), WHERE[1:], but=TEST_COUNT_OF),
    *worded(("How many {}",), (" are there", " do you see", " can you see", "")),
    "Count the {}.",
)
IS_THERE = (
    *worded(("Is there a {}", "Do you see a {}", "Can you see a {}"), WHERE, but=TEST_IS_THERE),
    *worded(("Is a {}",), WHERE[1:], but=TEST_IS_THERE),
    *worded(("Does the picture show a {}", "Is it a {}", "Is this a {}", "Is there a {}", "Does it show a {}")),
)
TALK = ("Hello", "Hi!", "Who are you?", "What can you do?", "Thank you", "What is the capital of Norway?", "Help",
        "Tell me a joke.", "What is 2 + 2?", "Write a poem.", "How are you?", "Are you there?")  # fmt: skip

TEST = {
    DESCRIBE: TEST_DESCRIBE, COUNT: TEST_COUNT, COLOUR: TEST_COLOUR, COLOURS_OF_MANY: TEST_COLOURS, SHAPE: TEST_SHAPE,
    SHAPES_OF_MANY: TEST_SHAPES, DIGIT: TEST_DIGIT, COLOUR_OF: TEST_COLOUR_OF, SHAPE_OF: TEST_SHAPE_OF,
    COUNT_OF: TEST_COUNT_OF, IS_THERE: TEST_IS_THERE, TALK: TEST_TALK,
}  # fmt: skip


@dataclass(frozen=True)
class Asked:
    """skill: what it measures. answers: all that are true, the first of them as it is trained."""

    skill: str
    question: str
    answers: tuple[str, ...]


def plural(kind: str) -> str:
    return {"cross": "crosses"}.get(kind, kind + "s")


def article(noun: str) -> str:
    """
    >>> article("orange ring"), article("8"), article("red ring")
    ('an orange ring', 'an 8', 'a red ring')
    """
    return ("an " if noun[0] in "aeiou8" else "a ") + noun


def some(count: int, colour: str, kind: str) -> str:
    return article(f"{colour} {kind}") if count == 1 else f"{NUMBERS[count]} {colour} {plural(kind)}"


def sentence(text: str) -> str:
    return text[:1].upper() + text[1:] + "."


def groups(of: Scene) -> list[tuple[int, str, str]]:
    """(count, colour, kind), the larger group first, of equal ones as the colours are ordered."""
    order = list(COLOURS)
    counts = Counter((i.colour, i.kind) for i in of.items)
    return sorted(((n, *look) for look, n in counts.items()), key=lambda g: (-g[0], order.index(g[1])))


def described(of: Scene) -> tuple[str, ...]:
    """The sentences that describe a scene: the groups in any order."""
    parts = [some(*g) for g in groups(of)]
    if of.sort == "digit":
        item = of.items[0]
        return (sentence(article(f"{item.colour} {item.kind}")),)
    return tuple(sentence(" and ".join(p)) for p in (parts, parts[::-1]))


def there_are(count: int, kind: str) -> str:
    return f"There is one {kind}." if count == 1 else f"There are {NUMBERS[count]} {plural(kind)}."


def ask(rng: random.Random, of: Scene, test: bool = False) -> Asked:
    """A question about a scene. test: in words that training does not use."""

    def pick(phrasings: tuple[str, ...]) -> str:
        return rng.choice(TEST[phrasings]) if test else typed(rng, rng.choice(phrasings))

    item = of.items[0]
    choices = {"describe": 4, "colour": 2, "is there": 1.5}
    if of.sort == "digit":
        choices |= {"digit": 4}
    elif of.sort == "mixed":
        choices |= {"count": 2, "shape": 2, "count of": 2}
    else:
        choices |= {"count": 2 if of.sort == "same" else 1, "shape": 2, "count of": 0.5}
    skill = rng.choices(tuple(choices), tuple(choices.values()))[0]
    if skill == "describe":
        return Asked(skill, pick(DESCRIBE), described(of))
    if skill == "digit":
        return Asked(skill, pick(DIGIT), (f"It is {article(item.kind)}.",))
    if skill == "is there":
        return is_there(rng, of, pick(IS_THERE))
    if skill == "count":
        return Asked(skill, pick(COUNT), (there_are(len(of.items), "shape"),))
    if skill == "count of":
        kind = rng.choice(of.items).kind if rng.random() < 0.8 else rng.choice(SHAPES)
        return Asked(
            skill, pick(COUNT_OF).format(plural(kind)), (there_are(sum(i.kind == kind for i in of.items), kind),)
        )
    return look(rng, of, skill, pick)


def typed(rng: random.Random, question: str) -> str:
    """As people type: now and then in small letters, or without the mark at the end."""
    if rng.random() < 0.1:
        question = question.lower()
    return question.rstrip("?.") if rng.random() < 0.1 else question


def look(rng: random.Random, of: Scene, skill: str, pick: Callable[[tuple[str, ...]], str]) -> Asked:
    """The colour or the shape of what is there."""
    item = rng.choice(of.items)
    if of.sort == "mixed":
        if skill == "colour":
            many = sum(i.kind == item.kind for i in of.items) > 1
            question = pick(COLOUR_OF).format(plural(item.kind) if many else item.kind)
            question = (
                question.replace("colour is the", "colour are the").replace("color is the", "color are the")
                if many
                else question
            )
            return Asked(skill, question, (f"They are {item.colour}." if many else f"It is {item.colour}.",))
        return Asked(skill, pick(SHAPE_OF).format(item.colour), (shape_answer(of, item),))
    many = of.sort == "same"
    if skill == "colour":
        return Asked(
            skill,
            pick(COLOURS_OF_MANY if many else COLOUR),
            (f"They are {item.colour}." if many else f"It is {item.colour}.",),
        )
    return Asked(skill, pick(SHAPES_OF_MANY if many else SHAPE), (shape_answer(of, item),))


def shape_answer(of: Scene, item: Item) -> str:
    """What the item is, or what they are if there are more of its kind."""
    if sum(i.kind == item.kind for i in of.items) > 1:
        return f"They are {plural(item.kind)}."
    return f"It is {article(item.kind)}."


def is_there(rng: random.Random, of: Scene, phrasing: str) -> Asked:
    """Half of them are there; of the others half have one thing right: the shape or the colour."""
    item = rng.choice(of.items)
    kinds = DIGITS if of.sort == "digit" else SHAPES
    colour, kind = item.colour, item.kind
    if rng.random() < 0.5:
        wrong = rng.random()
        colour = rng.choice(tuple(COLOURS)) if wrong < 0.6 else colour
        kind = rng.choice(kinds) if wrong > 0.4 else kind
    if rng.random() < 0.4:
        noun, true = kind, any(i.kind == kind for i in of.items)
    else:
        noun, true = f"{colour} {kind}", any((i.kind, i.colour) == (kind, colour) for i in of.items)
    question = phrasing.format(noun).replace(f" a {noun}", f" {article(noun)}")
    return Asked("is there", question, ("Yes." if true else "No.",))


def talk(rng: random.Random, test: bool = False) -> Asked:
    """Without a picture."""
    phrasings = (
        (*TEST[TALK], *TEST[DESCRIBE]) if test else (*TALK, *(p for p in DESCRIBE if p), *DIGIT, *COUNT, *COLOUR)
    )
    return Asked("no picture", rng.choice(phrasings), (NO_PICTURE,))
