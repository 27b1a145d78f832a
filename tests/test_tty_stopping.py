"""Ctrl-C, fifty times at any moment: the prompt is back at once, and the conversation goes on."""

from __future__ import annotations

import random
import time
from pathlib import Path

import pytest
import tape
from pseudo_terminal import PROMPT, Tty

MOMENTS = 50
WITHIN_S = 0.5  # as a person finds it; the median of fifty on a machine that does other things as well
AT_MOST_S = 5
WORDS = 2000


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """It says numbers in order, so that a word that is lost or there twice can be seen."""
    text = " ".join(f"n{n}" for n in range(WORDS))
    return tape.write(tmp_path_factory.mktemp("tape") / "numbers", text, hidden=512, layers=4)


def test_ctrl_c_at_fifty_moments(model: Path) -> None:
    rng = random.Random(7)
    took: list[float] = []
    with Tty("run", model, "--ctx", "32768") as tty:
        tty.prompt()
        tty.send("first question")
        tty.wait_for("n20 ")  # on a busy machine a model takes longer to load than fifty questions
        tty.type("\x03")
        tty.prompt()
        for turn in range(MOMENTS):
            if turn % 10 == 9:
                tty.ask("/clear")
            tty.send(f"question {turn}" + " and so on" * rng.choice((0, 0, 100)))
            tty.rest(rng.choice((0.02, rng.uniform(0.02, 0.1), rng.uniform(0.02, 0.5))))
            if tty.at_prompt():
                continue  # it was quicker
            tty.type("\x03")
            took.append(tty.prompt(AT_MOST_S))
            tty.type("\x03")  # a message that was stopped before it was sent stands there again
        before = tty.text().count("n20 ")
        tty.send("last question")
        tty.wait_for("n20 ", times=before + 1)
        tty.type("\x03")
        tty.prompt()
        tty.type("\x04")
        assert tty.end() == 0
        said = [line.split() for line in tty.text().split("\n") if line.startswith("n0 ")]
    assert len(took) > MOMENTS / 2
    assert sorted(took)[len(took) // 2] < WITHIN_S, took
    assert len(said) >= 2
    for words in said:
        assert words == [f"n{n}" for n in range(len(words))][: len(words)]


@pytest.mark.parametrize(("slow_s", "unbuffered"), [(0, None), (3, None), (3, "1")])
def test_what_was_said_stays_and_is_closed(slow_s: float, unbuffered: str | None, model: Path) -> None:
    """Also on a terminal that has not shown all of it yet: it throws that away on Ctrl-C, unless it is told not to. And
    what is being written is not written to its end then.
    """
    with Tty("run", model, env={"PYTHONUNBUFFERED": unbuffered}) as tty:
        tty.prompt()
        tty.send("first question")
        tty.wait_for("n30 ")
        time.sleep(slow_s)
        tty.press("\x03")
        tty.prompt()
        shown = tty.text()
        assert shown.startswith(">>> first question\nn0 n1 ")
        said = shown[shown.index("n0 ") :].split("(stopped)")[0].split(">>>")[0].split()
        assert said == [f"n{n}" for n in range(len(said))]
        tty.send("second question")
        tty.wait_for("n20 ", times=2)
        tty.type("\x03")
        tty.prompt()
        tty.ask("/tokens")
        shown = tty.text()
        prompt = shown[shown.rindex("/tokens") :]
        assert "first question" in prompt
        assert prompt[prompt.index("n0 ") :].split("</s>")[0].split() == said


def test_ctrl_c_while_the_model_reads(model: Path) -> None:
    """A long prompt, which takes seconds to read."""
    with Tty("run", model, "--ctx", "32768") as tty:
        tty.prompt()
        tty.paste("word " * 5000)
        tty.rest(0.5)
        tty.send("")
        tty.rest(0.3)
        assert not tty.at_prompt()
        tty.type("\x03")
        assert tty.prompt() < AT_MOST_S
        assert "n0" not in tty.text()
        assert "(stopped)" in tty.text()


def test_keys_typed_during_an_answer_are_not_lost(model: Path) -> None:
    with Tty("run", model, "--max-tokens", "200") as tty:
        tty.prompt()
        tty.send("a question")
        tty.wait_for("n2 ")
        tty.type("typed ahead")
        tty.wait_for(">>> typed ahead")
        assert tty.text().count("typed ahead") == 1
        tty.send("")
        tty.wait_for("n2 ", times=2)
        tty.type("and ")
        tty.type("\x03more")
        tty.wait_for(">>> and more")


def test_a_model_that_never_ends_and_talks_nonsense(small_gguf: Path) -> None:
    with Tty("run", small_gguf, "--temperature", "1.5", "--seed", "3") as tty:
        tty.prompt()
        tty.send("hello")
        tty.wait_until(lambda: len(tty.sent) > 2000, "some of the answer")
        tty.type("\x03/nothing\r")
        tty.wait_for("no command /nothing")
        tty.prompt()
        assert "(stopped)" in tty.text()
        tty.type("\x04")
        assert tty.end() == 0
        assert "Send a message" not in tty.text()  # the hint does not stay behind


def test_ctrl_c_right_behind_enter(model: Path) -> None:
    """It was meant for the message, wherever the two were on their way: nothing is asked, and nothing is lost."""
    rng = random.Random(11)
    asked = 0
    with Tty("run", model, "--ctx", "32768") as tty:
        tty.prompt()
        for turn in range(MOMENTS):
            before = tty.text().count("(stopped)")
            tty.type(f"question {turn}\r")
            if turn % 2:
                tty.rest(rng.uniform(0, 0.01))
            tty.type("\x03")
            tty.wait_for("(stopped)", times=before + 1, seconds=AT_MOST_S)
            tty.prompt(AT_MOST_S)
            row = tty.screen()[tty.cursor[1]]
            was_sent = row == PROMPT.strip() or "Send a message" in row
            asked += was_sent
            assert was_sent or row == f"{PROMPT}question {turn}"
            tty.type("\x03")
        tty.type("\x04")
        assert tty.end() == 0
    assert asked < MOMENTS


@pytest.mark.parametrize("variables", [{"ACCESSIBLE": "1"}, {"TERM": "dumb"}])
def test_ctrl_c_in_a_plain_prompt_takes_the_line_back(variables: dict[str, str | None], model: Path) -> None:
    with Tty("run", model, "--max-tokens", "40", env=variables) as tty:
        tty.wait_for("You:")
        tty.type("half")
        tty.wait_for("half")
        tty.rest(0.5)  # Python's readline hears a signal while it waits for a key, not while it takes one
        tty.type("\x03")
        tty.wait_for("Ctrl-D or /bye leaves\nYou:")
        tty.type("whole\r")
        tty.wait_for("n30 ")
        assert "(stopped)" not in tty.text()
