"""The demo model's data: made from a seed, with a test that training never sees."""

from __future__ import annotations

import random

import pytest

from minichat.demo.training import memory, skills, words
from minichat.demo.training.copying import copy_row
from minichat.demo.training.knowledge import ACTION_FRAMES, THING_FRAMES, TOPICS
from minichat.demo.training.memory import FACTS, a_name
from minichat.demo.training.split import TEST, TRAIN, Phrasings, held_out, parts, plain
from minichat.demo.training.styles import Check, Style
from minichat.demo.training.talk import SKILLS, test_conversation, training_conversation
from minichat.demo.training.turns import Turn

test_conversation.__test__ = False  # type: ignore[attr-defined]  # no test of pytest's
PIECES = ["a", "an", "ba", "cor", "de", "el", "fin", "gor", "hu", "ion", "ka", "lo", "mi", "nor", "ost", "ur"]


def test_the_same_seed_gives_the_same_conversations() -> None:
    def talks(seed: int) -> list[object]:
        rng = random.Random(seed)
        made: list[object] = [training_conversation(rng, PIECES) for _ in range(50)]
        return made + [test_conversation(rng, PIECES, skill) for skill in SKILLS]

    assert talks(1) == talks(1)
    assert talks(1) != talks(2)


@pytest.mark.parametrize(
    "options",
    [ACTION_FRAMES, THING_FRAMES, skills.PLUS, skills.CAPITAL, memory.REPEAT, *(f.ask for f in FACTS.values())],
)
def test_every_list_of_phrasings_holds_some_out(options: Phrasings) -> None:
    train, test = parts(options)
    assert test
    assert not {plain(o) for o in train} & {plain(o) for o in test}
    assert len(train) > 3 * len(test)


def test_later_phrasings_leave_the_older_ones_where_they_were() -> None:
    first, later = tuple("abcdefgh"), tuple("ijklmnop")
    (train, test), (more_train, more_test) = parts(first), parts((*first, later))
    assert set(train) < set(more_train)
    assert set(test) < set(more_test)


def test_the_questions_of_a_topic_are_asked_in_training_or_in_the_test() -> None:
    for topic in TOPICS:
        asked = {
            split: {skills.minichat(random.Random(i), split, topic).user.casefold() for i in range(60)}
            for split in (TRAIN, TEST)
        }
        assert not asked[TRAIN] & asked[TEST]
        assert asked[TRAIN] <= skills.trained_questions(topic)


def test_names_and_pairs_of_numbers_are_held_out() -> None:
    rng = random.Random(0)
    trained = {a_name(rng, TRAIN, PIECES).casefold() for _ in range(3000)}
    tested = {a_name(rng, TEST, PIECES).casefold() for _ in range(3000)}
    assert not trained & tested
    assert not {n.casefold() for n in words.NAMES} & {n.casefold() for n in words.HELD_OUT_NAMES}
    for split in (TRAIN, TEST):
        for _ in range(500):
            a, sign, b, _, result = skills.sums(rng, split).answer.split()
            assert held_out(f"{max(int(a), int(b))}{sign}{min(int(a), int(b))}") == (split == TEST)
            assert int(result) == (int(a) + int(b) if sign == "+" else int(a) - int(b))


def test_every_gold_answer_passes_its_own_check() -> None:
    rng = random.Random(3)
    for skill in SKILLS:
        for _ in range(200):
            talk = test_conversation(rng, PIECES, skill)
            assert talk.check.passes(talk.turns[-1][1]), talk
            assert not talk.check.passes(""), talk


def test_a_right_answer_in_the_wrong_style_does_not_pass() -> None:
    turn = Turn("capitals", "Capital of France?", "The capital of France is Paris.", ("is Paris",), "Paris")
    for style, wrong in (
        (Style("upper"), turn.answer),
        (Style("lower"), turn.answer),
        (Style("cat", after="=^.^="), turn.answer),
        (Style("begin", before="Ahoy!"), turn.answer),
    ):
        answer, check = style.apply(turn)
        assert check.passes(answer)
        assert not check.passes(wrong)
        assert not check.passes(answer.replace("aris", "oris").replace("ARIS", "ORIS"))
    assert not Check(contains=("= 1",), never=("= 12",)).passes("3 + 9 = 12")


def test_the_repeats_of_a_copy_row_can_be_known() -> None:
    for seed in range(20):
        ids, known = copy_row(random.Random(seed), range(1000, 4096), 400)
        assert len(ids) == len(known) == 400
        assert not known[0]
        assert sum(known) > 100
        pairs = set()
        for i in range(1, 400):
            if known[i]:
                assert (ids[i - 1], ids[i]) in pairs
            pairs.add((ids[i - 1], ids[i]))
