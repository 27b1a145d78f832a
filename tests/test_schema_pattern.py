"""Patterns: what they match, against Python's `re`, and which are refused."""

from __future__ import annotations

import datetime
import random
import re

import pytest

from minichat.schema import automaton, characters
from minichat.schema.formats import CHECKED, WRITTEN
from minichat.schema.nfa import Search, build
from minichat.schema.pattern import PatternError, parse


def accepts(machine: automaton.Automaton, text: str) -> bool:
    state = 0
    for character in text:
        targets = [t for ranges, t in machine.edges[state] if any(a <= ord(character) <= b for a, b in ranges)]
        assert len(targets) <= 1, "not deterministic"
        if not targets:
            return False
        state = targets[0]
    return state in machine.final


def compiled(pattern: str) -> automaton.Automaton:
    return automaton.from_nfa(build(parse(pattern, characters.common_class)), 5000)


def random_pattern(draw: random.Random, depth: int = 3) -> str:
    match draw.randrange(9 if depth else 4):
        case 0 | 1:
            return draw.choice(["a", "b", "c", "ab", "\\.", "\\x61", "\\u0062", "-", "\\\\", "é", "\\t"])
        case 2:
            return draw.choice(
                [".", "\\d", "\\w", "\\s", "\\D", "\\W", "\\S", "[ab]", "[^a]", "[a-c-]", "[^\\d\\s]", "[\\]\\w]"]
            )
        case 3:
            return draw.choice(["^", "$", "", "a"])
        case 4 | 5:
            return "".join(random_pattern(draw, depth - 1) for _ in range(draw.randrange(4)))
        case 6:
            return f"({draw.choice(['', '?:'])}{random_pattern(draw, depth - 1)}|{random_pattern(draw, depth - 1)})"
        case _:
            many = draw.choice(["*", "+", "?", "{2}", "{1,3}", "{0,}", "*?", "{2,}?", "{0}"])
            return f"(?:{random_pattern(draw, depth - 1)}){many}"


def test_patterns_match_what_pythons_do() -> None:
    draw = random.Random(5)
    found = missed = 0
    for _ in range(400):
        pattern = random_pattern(draw)
        expected = re.compile(pattern.replace("$", "\\Z"), re.ASCII)
        search, machine = Search(pattern), compiled(pattern)
        exact = not re.search(r"\\[DWS]|\[\^", pattern)
        for _ in range(12):
            text = "".join(draw.choices("aabbc-.1_ \\\té", k=draw.randrange(7)))
            is_found = bool(expected.search(text))
            assert search.found_in(text) == is_found, (pattern, text)
            # What is written is what both dialects find: é is no letter to ECMA-262, and one to Python.
            assert accepts(machine, text) == is_found or (not exact and not accepts(machine, text)), (pattern, text)
            found, missed = found + is_found, missed + (not is_found)
    assert found > 500
    assert missed > 500


def test_an_end_is_no_end_before_it() -> None:
    for text in ("", "a"):
        assert Search("^$$").found_in(text) == accepts(compiled("^$$"), text) == (text == "")


def test_a_class_is_what_ecma_and_python_both_mean() -> None:
    for letter in "dws":
        for name in (letter, letter.upper()):
            within, at_most = characters.common_class(name)
            ecma, _ = characters.ecma_class(name)
            python = [p for p in range(0x3100) if re.match(f"\\{name}", chr(p))]
            in_ecma = {p for a, b in ecma for p in range(a, min(b, 0x30FF) + 1)}
            assert {p for a, b in within for p in range(a, min(b, 0x30FF) + 1)} == in_ecma & set(python)
            assert {p for a, b in at_most for p in range(a, min(b, 0x30FF) + 1)} == in_ecma | set(python)


@pytest.mark.parametrize(
    ("pattern", "reason"),
    [
        ("(?=a)", "a look-ahead ('(?=') is not supported"),
        ("(?<!a)", "a look-behind ('(?<!') is not supported"),
        ("(?i)a", "the group '(?i' is not supported"),
        ("(?P<n>a)", "the group '(?P' is not supported"),
        (r"(a)\1", r"the escape \1 is not supported"),
        (r"\bword", r"the escape \b is not supported"),
        (r"\p{L}", r"the escape \p is not supported"),
        (r"\Aa\Z", r"the escape \A is not supported"),
        ("a**", "a quantifier follows the quantifier *"),
        ("*a", "the quantifier * follows nothing"),
        ("a{3,2}", "the quantifier {3,2} has its numbers in the wrong order"),
        ("a{,2}", r"a '{' that begins no quantifier must be written \{"),
        ("^*", "'^' and '$' cannot be repeated"),
        ("(a", "a '(' is not closed"),
        ("a)", "a ')' closes nothing"),
        ("[a", "a '[' is not closed"),
        ("[]a]", r"a ']' that comes first in a class must be written \]"),
        ("[b-a]", "the range b-a is in the wrong order"),
        (r"[a-\d]", "a range in a class must go from one character to another"),
        ("a\\", "it ends in a '\\'"),
        (r"\x1", "an escape needs 2 hexadecimal digits"),
        (r"\ud83d\ude00", r"the escape \ud83d is half a character: write the character itself"),
        ("a{9999}", "it is too long, or repeats too often"),
        ("(" * 60 + ")" * 60, "its groups are nested more than 50 deep"),
        ("a" * 5000, "it is longer than 4,000 characters"),
    ],
)
def test_what_is_not_supported_is_named(pattern: str, reason: str) -> None:
    with pytest.raises(PatternError) as caught:
        Search(pattern)
    assert str(caught.value) == reason


def test_dates_are_those_of_the_calendar() -> None:
    machine = compiled(CHECKED["date"])
    day = datetime.date(1896, 1, 1)
    right = set()
    while day.year < 1906:
        right.add(day.isoformat())
        day += datetime.timedelta(days=1)
    for year in range(1896, 1906):
        for month in range(14):
            for number in range(33):
                text = f"{year}-{month:02}-{number:02}"
                assert accepts(machine, text) == (text in right), text
    for year in range(10000):
        text = f"{year:04}-02-29"
        is_leap = bool(year) and year % 4 == 0 and (year % 100 != 0 or year % 400 == 0)
        assert accepts(machine, text) == is_leap, text
    assert not accepts(machine, "0000-01-01")


@pytest.mark.parametrize(
    ("name", "right", "wrong"),
    [
        ("time", ["00:00:00Z", "23:59:59.5+14:00"], ["24:00:00Z", "12:60:00Z", "12:00Z", "12:00:00", "12:00:00.Z"]),
        ("date-time", ["2024-02-29T23:59:59Z"], ["2023-02-29T23:59:59Z", "2024-01-01 00:00:00Z"]),
        ("uuid", ["123e4567-E89B-12d3-a456-426614174000"], ["123e4567e89b12d3a456426614174000", "123e4567-e89b"]),
        ("ipv4", ["0.0.0.0", "255.255.255.255", "1.20.199.249"], ["256.0.0.0", "01.2.3.4", "1.2.3", "1.2.3.4."]),  # noqa: S104
        ("email", ["ada.lovelace@example.org", "a@b.co"], ["a@b", "@b.org", "a@-b.org", "a..b@c.org", "a b@c.org"]),
    ],
)
def test_formats(name: str, right: list[str], wrong: list[str]) -> None:
    machine = compiled(WRITTEN[name])
    assert [accepts(machine, text) for text in right + wrong] == [True] * len(right) + [False] * len(wrong)


def test_automata_meet_and_turn_round() -> None:
    draw = random.Random(7)
    for _ in range(60):
        one, other = compiled(random_pattern(draw, 2)), compiled(random_pattern(draw, 2))
        both, none = automaton.intersect(one, other, 5000), automaton.complement(one)
        some = automaton.intersect(one, automaton.lengths(1, 3), 5000)
        words = {"".join(draw.choices("abc-1", k=draw.randrange(5))) for _ in range(4)}
        listed = automaton.literals(words)
        for _ in range(20):
            text = "".join(draw.choices("abc-1é", k=draw.randrange(6)))
            assert accepts(both, text) == (accepts(one, text) and accepts(other, text))
            assert accepts(none, text) != accepts(one, text)
            assert accepts(some, text) == (accepts(one, text) and 1 <= len(text) <= 3)
            assert accepts(listed, text) == (text in words)
        assert all(accepts(listed, word) for word in words)
