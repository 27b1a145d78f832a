"""Prompt lookup: its guesses are what stood there before, and it costs nothing to change the text."""

import doctest
import random

from minichat.engine import lookup
from minichat.engine.lookup import LONGEST, Lookup


def made(text: list[int]) -> Lookup:
    found = Lookup()
    found.follow(text)
    return found


def test_the_example() -> None:
    assert doctest.testmod(lookup).failed == 0


def test_a_match_is_what_it_says() -> None:
    rng = random.Random(1)
    for letters in (2, 5, 40):
        text = [rng.randrange(letters) for _ in range(30)]
        found = made(text)
        for _ in range(300):
            guess = found.guess(3)
            assert bool(guess) == bool(found.matched)
            if guess:
                last, n = [*text, *guess], found.matched
                places = [p for p in range(n, len(text)) if text[p - n : p] == text[-n:]]
                assert any([last[p + k] for k in range(3)] == guess for p in places), (text, guess)
            token = guess[0] if guess and rng.random() < 0.8 else rng.randrange(letters)
            found.add(token)
            text.append(token)


def test_the_longest_match_is_taken() -> None:
    assert made([7, 1, 2, 50, 8, 1, 2, 60, 9, 1, 2, 70, 7, 1, 2]).guess(1) == [50]
    quote = list(range(100, 140))
    found = made([*quote, 1, *quote[:20]])
    assert (found.matched, found.guess(30)[:20]) == (LONGEST, quote[20:])


def test_what_repeats_itself_is_taken_to_go_on() -> None:
    assert made([1, 2, 3, 1, 2, 3, 1, 2]).guess(7) == [3, 1, 2, 3, 1, 2, 3]


def test_one_token_takes_up_a_match_that_broke_off() -> None:
    found = made([*range(10, 40), 1, 10, 11, 12])
    assert found.guess(2) == [13, 14]
    found.add(99)  # in the place of 13
    assert found.matched == 0
    found.add(14)
    assert (found.matched, found.guess(2)) == (1, [15, 16])


def test_a_text_that_was_changed_is_as_one_read_anew() -> None:
    rng = random.Random(2)
    found = Lookup()
    text: list[int] = []
    for _ in range(60):
        text = text[: rng.randrange(len(text) + 1)] + [rng.randrange(6) for _ in range(rng.randrange(40))]
        found.follow(text)
        assert (found.matched, found.guess(4)) == (made(text).matched, made(text).guess(4))
        for _ in range(rng.randrange(10)):
            text.append(rng.randrange(6))
            found.add(text[-1])


def test_nothing_is_guessed_of_nothing() -> None:
    for text in ([], [1], [1, 2], [1, 2, 3]):
        assert made(text).guess(4) == []


def test_a_picture_is_no_guess_and_no_pair() -> None:
    """Its rows are negative ids: what stands behind an earlier occurrence is followed up to the first of them."""
    lookup = Lookup()
    lookup.follow([1, 2, 3, 4, -7, -8, 13, 5, 2, 3])
    assert (lookup.matched, lookup.guess(8)) == (2, [4])
    lookup.follow([1, -7, -8, 13, 5, -9, -8, 13])  # -8, 13 stands twice, but is no pair of tokens
    assert lookup.matched == 0
    lookup.follow([1, 2])  # all of it is taken back
    lookup.follow([1, 2, 3, 1, 2])
    assert lookup.guess(1) == [3]
