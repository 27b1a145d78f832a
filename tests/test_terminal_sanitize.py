"""Nothing that a terminal obeys, and nothing else, is made visible."""

from __future__ import annotations

import doctest
import random
import unicodedata

import pytest

from minichat.terminal import commands, sanitize, tables, units
from minichat.terminal.sanitize import clean, clean_line

BIDI = {*range(0x202A, 0x202F), *range(0x2066, 0x206A)}


@pytest.mark.parametrize("module", [sanitize, units, tables, commands])
def test_the_examples_in_the_docstrings(module: object) -> None:
    result = doctest.testmod(module)  # type: ignore[arg-type]
    assert result.attempted
    assert not result.failed


def test_every_character() -> None:
    for code in range(0x110000):
        char = chr(code)
        unsafe = (unicodedata.category(char) in ("Cc", "Cs") and char not in "\n\t") or code in BIDI
        cleaned = clean(char)
        assert (cleaned != char) == unsafe, hex(code)
        assert cleaned.isprintable() or not unsafe, hex(code)


def test_cutting_an_escape_sequence_makes_no_difference() -> None:
    payload = "a\x1b[31mb\x1b]0;title\x07c\x9b2Jd\x90e\u202ef\x7f"
    chance = random.Random(1)
    for _ in range(200):
        cut = chance.randrange(len(payload))
        assert clean(payload[:cut]) + clean(payload[cut:]) == clean(payload)


def test_text_that_is_fine_is_the_same_object() -> None:
    text = "Grüße, 世界 🙂 e\u0301\u200d\n\tx"
    assert clean(text) is text


def test_one_line_stays_one_line() -> None:
    assert clean_line("a\nb\tc\rd") == "a␊b␉c␍d"
