"""What the demo that sees is taught: the scenes hold what is said of them, and the examination is never trained on."""

from __future__ import annotations

import math
import random

import numpy as np
import pytest

from minichat.demo.training.sight import questions
from minichat.demo.training.sight.digits import FORMS, strokes
from minichat.demo.training.sight.questions import NUMBERS, TEST, Asked, ask, described, plural, talk
from minichat.demo.training.sight.scenes import COLOURS, DIGITS, MOST, SHAPES, Item, Scene, picture, scene

SORTS = ("single", "same", "mixed", "digit")
TWO_AND_ONE = Scene(
    "mixed",
    1.0,
    0.75,
    (Item("star", "red", 0.2, 0.2, 0.1), Item("ring", "orange", 0.5, 0.5, 0.1), Item("ring", "orange", 0.8, 0.2, 0.1)),
)


def scenes(count: int = 200) -> list[Scene]:
    rng = random.Random("scenes")
    return [scene(rng, 1.0, rng.uniform(0.5, 1)) for _ in range(count)]


def test_things_lie_within_the_picture_and_touch_nothing() -> None:
    for of in scenes():
        assert 1 <= len(of.items) <= MOST
        for n, item in enumerate(of.items):
            assert item.r <= item.x <= of.width - item.r
            assert item.r <= item.y <= of.height - item.r
            assert all(math.hypot(item.x - o.x, item.y - o.y) > item.r + o.r for o in of.items[:n])


def test_all_sorts_numbers_shapes_and_colours_come() -> None:
    made = scenes(1000)
    assert {of.sort for of in made} == set(SORTS)
    assert {len(of.items) for of in made} == {1, 2, 3, 4, 5}
    assert {i.kind for of in made for i in of.items} == {*SHAPES, *DIGITS}
    assert {i.colour for of in made for i in of.items} == set(COLOURS)


@pytest.mark.parametrize("kind", ["circle", "square", "heart", "7"])
def test_a_thing_is_drawn_in_its_colour_where_it_is(kind: str) -> None:
    of = Scene("single", 1.0, 0.5, (Item(kind, "red", 0.25, 0.25, 0.2),))
    for seed in range(20):
        pixels = np.asarray(picture(random.Random(seed), of, 200), np.int16)
        assert pixels.shape == (100, 200, 3)
        left, right = pixels[10:90, 10:90].reshape(-1, 3), pixels[10:90, 110:190].reshape(-1, 3)
        # What differs from the empty half's middle colour is the thing: red above green and blue.
        empty = np.median(right, 0)
        other = left[np.abs(left - empty).sum(1) > 140]
        assert len(other) > 100
        red, green, blue = np.median(other, 0)
        assert red > green + 60
        assert red > blue + 60


def test_the_same_seed_draws_the_same_picture() -> None:
    def drawn(seed: int) -> bytes:
        rng = random.Random(seed)
        return picture(rng, scene(rng, 1.0, 0.8), 112).tobytes()

    assert drawn(1) == drawn(1)
    assert drawn(1) != drawn(2)


def test_a_digit_fills_its_square() -> None:
    for digit in FORMS:
        for seed in range(20):
            points = [p for stroke in strokes(random.Random(seed), digit) for p in stroke]
            spans = [max(p[axis] for p in points) - min(p[axis] for p in points) for axis in (0, 1)]
            assert max(spans) == pytest.approx(1)
            assert all(-1e-9 <= c <= 1 + 1e-9 for p in points for c in p)


def test_answers_are_true() -> None:
    rng = random.Random(3)
    for of in scenes(400):
        one = ask(rng, of, test=rng.random() < 0.5)
        assert true_by_words(of, one), (of, one)


def true_by_words(of: Scene, one: Asked) -> bool:
    """Whether the answer holds, told from its words and the question's alone."""
    said = one.answers[0].rstrip(".").lower().split()
    asked = one.question.rstrip("?.").lower().split()
    kinds = [w for w in [*SHAPES, *map(plural, SHAPES), *DIGITS] if w in asked]
    colours = [c for c in COLOURS if c in asked]

    def named(item: Item) -> bool:
        return (not kinds or any(k in (item.kind, plural(item.kind)) for k in kinds)) and (
            not colours or item.colour in colours
        )

    meant = [i for i in of.items if named(i)]
    if one.skill == "is there":
        return said == (["yes"] if meant else ["no"])
    if one.skill in ("count", "count of"):
        return said[2] == NUMBERS[len(meant)]
    if one.skill == "colour":
        return {i.colour for i in meant} == {said[-1]} and (said[0] == "they") == (len(meant) > 1)
    if one.skill in ("shape", "digit"):
        singular = said[0] == "it"
        return {i.kind if singular else plural(i.kind) for i in meant} == {said[-1]} and singular == (len(meant) == 1)
    return one.answers == described(of)


def test_a_description_names_the_larger_group_first() -> None:
    assert described(TWO_AND_ONE) == ("Two orange rings and a red star.", "A red star and two orange rings.")
    assert described(Scene("digit", 1.0, 1.0, (Item("8", "black", 0.5, 0.5, 0.4),))) == ("A black 8.",)


def test_every_list_of_phrasings_holds_some_out() -> None:
    for trained, held in TEST.items():
        assert held
        assert not set(held) & set(trained)


def test_without_a_picture_the_answer_says_so() -> None:
    assert talk(random.Random(0)).answers == (questions.NO_PICTURE,)
