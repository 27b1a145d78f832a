"""Damaged pictures, a few of `python -m tests.picture_damage`'s 2,000."""

from __future__ import annotations

from picture_damage import look, mutants

from minichat.pictures.album import Album
from minichat.pictures.size import Limits


def test_damaged_pictures_are_one_line() -> None:
    with Album(Limits(max_tokens=50)) as album:
        outcomes = [look(album, name, content) for name, content in mutants(60)]
    assert {outcome for outcome in outcomes if outcome.startswith("WRONG")} == set()
    assert outcomes.count("read") > 5
    assert outcomes.count("refused") > 20
