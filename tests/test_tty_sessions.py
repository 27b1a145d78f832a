"""Kill the program at any moment, and go on: nothing is lost but the end of the answer that was under way."""

from __future__ import annotations

import json
import random
import re
from functools import partial
from pathlib import Path

import pytest
import tape
from program import minichat
from pseudo_terminal import Tty

MOMENTS = 50
NUMBERS = [f"n{n}" for n in range(600)]


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tape.write(tmp_path_factory.mktemp("tape") / "numbers", " ".join(NUMBERS), hidden=512, layers=4)


def saved() -> list[dict[str, str]]:
    """The messages of the only session, as the program exports them."""
    (session,) = json.loads(minichat("sessions", "--json").stdout)
    done = minichat("sessions", "show", session["name"], "--json")
    assert done.returncode == 0, done.stderr
    found: list[dict[str, str]] = json.loads(done.stdout)
    return found


def is_answered(tty: Tty, question: str) -> bool:
    """Whether words of the answer to a question are on the screen: of a tall one, perhaps only the last."""
    _, asked, behind = tty.text().rpartition(question)  # before it, there may be an earlier answer
    return bool(asked) and re.search(r"\bn\d+ n\d+\b", behind) is not None


def test_killed_at_fifty_moments_and_continued(model: Path) -> None:
    """Every question is kept that an answer had begun to, and of every answer what was heard, from its beginning."""
    rng = random.Random(3)
    begun: list[str] = []
    for turn in range(MOMENTS):
        with Tty("run", model, "--ctx", "32768", *(["--continue"] if turn else [])) as tty:
            tty.prompt()
            question = f"question {turn}"
            tty.send(question)
            if turn % 2 == 0:  # the first one, too: from then on there is something to go on with
                tty.wait_until(partial(is_answered, tty, question), "an answer", 60)
                tty.rest(rng.uniform(0, 0.3))
            else:
                tty.rest(rng.uniform(0, 0.1))
            tty.kill()
            tty.read()
            if is_answered(tty, question):
                begun.append(question)
    messages = saved()
    questions = [message["content"] for message in messages if message["role"] == "user"]
    assert [question for question in questions if question in begun] == begun
    assert len(set(questions)) == len(questions)
    assert len(begun) >= MOMENTS / 2
    answers = [message["content"].split() for message in messages if message["role"] == "assistant"]
    assert all(words == NUMBERS[: len(words)] or words[:-1] == NUMBERS[: len(words) - 1] for words in answers)
    with Tty("run", model, "--ctx", "32768", "--continue") as tty:
        tty.prompt()
        tty.ask("and now to the end", seconds=60)
        assert NUMBERS[-1] in tty.text()


def test_what_was_heard_before_a_kill_is_kept_and_marked(model: Path) -> None:
    with Tty("run", model) as tty:
        tty.prompt()
        tty.ask("/set max-tokens 20")
        tty.ask("first")
        tty.ask("/set max-tokens default")
        tty.send("second")
        tty.wait_for("n300 ")
        tty.rest(1)
        tty.kill()
    first, heard, second, partial = saved()
    assert (first["content"], second["content"]) == ("first", "second")
    assert heard["content"].split() == NUMBERS[: len(heard["content"].split())]
    assert "n300 " in partial["content"]
    with Tty("run", model, "--continue") as tty:
        tty.prompt()
        tty.ask("/tokens")
        assert "second" in tty.text()


def test_a_window_that_is_closed(model: Path) -> None:
    with Tty("run", model) as tty:
        tty.prompt()
        tty.send("a question")
        tty.wait_for("n20 ")
        tty.hang_up()
        assert tty.process.wait(10) != 0
    question, partial = saved()
    assert question["content"] == "a question"
    assert partial["content"].startswith("n0 n1 ")


def test_private_writes_nothing(model: Path, home: Path) -> None:
    with Tty("run", model, "--private") as tty:
        tty.prompt()
        tty.send("a secret question")
        tty.wait_for("n20 ")
        tty.type("\x03")
        tty.prompt()
        tty.type("\x04")
        assert tty.end() == 0
    assert not [path for path in home.rglob("*") if path.is_file() and b"secret" in path.read_bytes()]
    assert json.loads(minichat("sessions", "--json").stdout) == []
