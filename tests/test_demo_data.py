"""The demo model's data: made from a seed, with a test that training never sees."""

from __future__ import annotations

import json
import random
import re
from pathlib import Path

import pytest

from minichat.demo.training import memory, skills, tools, words
from minichat.demo.training.copying import copy_row
from minichat.demo.training.extraction import KEYS, extraction
from minichat.demo.training.knowledge import ACTION_FRAMES, THING_FRAMES, TOPICS
from minichat.demo.training.memory import FACTS, a_name
from minichat.demo.training.split import TEST, TRAIN, Phrasings, held_out, parts, plain
from minichat.demo.training.styles import Check, Style
from minichat.demo.training.talk import (
    SKILLS,
    TOOL_SKILLS,
    Conversation,
    test_conversation,
    tool_conversation,
    training_conversation,
)
from minichat.demo.training.tokens import DIGIT_WEIGHT, TOOL_CALLS, Codec
from minichat.demo.training.turns import CALLS, Calls, Results, Turn, WrongCalls

test_conversation.__test__ = False  # type: ignore[attr-defined]  # no test of pytest's
TEKKEN = Path(__file__).parent.parent / "minichat" / "demo" / "model" / "tekken.json"
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
            gold = talk.turns[-1][1]
            assert talk.check.passes(f"{CALLS}{gold}" if isinstance(gold, Calls) else gold), talk
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


@pytest.fixture(scope="module")
def codec() -> Codec:
    return Codec(TEKKEN)


def test_the_ids_are_those_of_mistral_common(codec: Codec) -> None:
    rng = random.Random(11)
    for _ in range(150):
        codec.check(training_conversation(rng, PIECES))
        codec.check(tool_conversation(rng, PIECES))
    for skill in TOOL_SKILLS:
        codec.check(test_conversation(rng, PIECES, skill))
    compact = json.dumps(json.loads(tool_conversation(rng, PIECES).tools), separators=(",", ":"))
    with pytest.raises(ValueError, match="not mistral-common's"):
        codec.check(Conversation("", (("Hi", "Hello."),), tools=compact))


def test_only_calls_made_in_sight_of_the_tools_are_learned(codec: Codec) -> None:
    call = tools.as_json([("f", {"city": "Rome"})], ["123456789"])
    result = Results((("123456789", "22"),))
    box = json.dumps([{"type": "function", "function": {"name": "f", "description": "", "parameters": {}}}])

    def weights(*turns: tuple[str | Results, str]) -> list[float]:
        ids, counts, _ = codec.encode(Conversation("", turns, tools=box))
        return [count for token, count in zip(ids, counts, strict=True) if token == TOOL_CALLS]

    assert weights(("Rome?", call)) == [1]
    assert weights(("Rome?", call), (result, "22"), ("And?", call)) == [0, 1]
    assert weights(("Rome?", WrongCalls(call)), (result, call), (result, "22")) == [0, 1]
    counts = codec.encode(Conversation("", (("Rome?", call),), tools=box))[1]
    assert counts.count(DIGIT_WEIGHT) == 9


def test_an_answer_counts_only_with_the_right_calls() -> None:
    gold = '[{"name": "f", "arguments": {"city": "Rome"}, "id": "123456789"}]'
    check = Check(calls=gold)
    assert check.passes(f"{CALLS}{gold.replace('123', 'abC')}")
    for wrong in (gold, CALLS + gold.replace("Rome", "Rom"), CALLS + gold.replace("9", ""), CALLS, f"{CALLS}[1]"):
        assert not check.passes(wrong)
    assert not Check(contains=("Rome",)).passes(CALLS + gold)
    assert not Check(json='{"a": 1, "b": 2}').passes('{"b": 2, "a": 1}')


def test_cities_and_names_to_copy_are_held_out() -> None:
    rng = random.Random(5)
    seen = " ".join(str(talk.turns) for talk in (training_conversation(rng, PIECES) for _ in range(3000)))
    told = set(re.findall(r"[^\W\d_]+(?:[ -][^\W\d_]+)*", seen))
    for name in (*words.HELD_OUT_WEATHER_CITIES, *words.HELD_OUT_US_CITIES, *words.HELD_OUT_FAMILY_NAMES):
        assert name not in told
    trained = {*words.WEATHER_CITIES, *words.CITIES, *words.CAPITALS.values(), *words.US_CITIES}
    assert not trained & {*words.HELD_OUT_WEATHER_CITIES, *words.HELD_OUT_US_CITIES}
    cities = {tools.a_city(rng, TEST, PIECES) for _ in range(500)}
    assert cities <= set(words.HELD_OUT_WEATHER_CITIES)


def test_the_unit_is_the_one_asked_for_else_the_place_s() -> None:
    rng = random.Random(6)
    for _ in range(300):
        question = tools.weather_question(rng, TRAIN, PIECES, tools.weather_tool(rng, "format"))
        _, arguments = question.call
        assert list(arguments) == ["location", "format"]
        place = str(arguments["location"])
        assert place in question.user
        asked = re.search(r"\b(celsius|fahrenheit|c|f)\b", question.user.replace(place, "").lower())
        if asked:
            assert str(arguments["format"])[0] == asked[0][0]
        else:
            in_a_state = re.search(r", [A-Z]{2}$", place)
            assert arguments["format"] == ("fahrenheit" if in_a_state else "celsius")


def test_an_answer_repeats_what_the_tool_said() -> None:
    rng = random.Random(8)
    for _ in range(500):
        result = tools.weather_result(rng)
        turn = tools.weather_answer("Oz", "celsius")(result)
        assert "Oz" in turn.answer
        numbers = re.findall(r"-?\d+(?:\.\d)?", result if "humidity" not in result else "")
        assert not numbers or numbers[0] in turn.answer or "wind" in result or "pressure" in result, (result, turn)


def test_extraction_is_what_the_text_says() -> None:
    rng = random.Random(9)
    for split in (TRAIN, TEST):
        for _ in range(400):
            turn = extraction(rng, split, PIECES)
            found = json.loads(turn.answer)
            assert set(found) <= set(KEYS)
            assert turn.answer == json.dumps(found, ensure_ascii=False)
            assert all(str(value) in turn.user for value in found.values()), turn
            bare = re.fullmatch(r"[^,:]+, \d+, [^,:]+", turn.user)
            assert not bare or list(found) == list(KEYS)


def test_no_tool_is_called_where_none_helps() -> None:
    rng = random.Random(10)
    for _ in range(200):
        talk = test_conversation(rng, PIECES, "no call")
        assert talk.tools
        assert not isinstance(talk.turns[-1][1], Calls)
        assert not talk.check.passes(f"{CALLS}[]")
