"""/set, /show and /system in the real program, on a terminal."""

from __future__ import annotations

from pseudo_terminal import Tty


def test_what_is_set_holds_from_the_next_answer_on() -> None:
    with Tty("run", "demo", "--temperature", "0", columns=40) as tty:
        tty.prompt()
        tty.ask("/system End every answer with a cat.")
        tty.ask("What is 12 + 30?", 60)
        tty.wait_for("12 + 30 = 42 =^.^=")
        tty.ask("/system -")
        tty.ask("/set temprature 1")
        tty.wait_for("did you mean 'temperature'?")
        tty.ask("/set ctx 512")
        tty.ask("/set top-k 3")
        tty.ask("/clear")  # else the model goes on as it began
        tty.ask("What is 12 + 31?")
        tty.wait_for("12 + 31 = 43\n")
        tty.ask("/show")
        shown = tty.text()
        assert "of 512 tokens" in " ".join(shown.split())
        rows = [line.split() for line in tty.rows()]
        assert ["top-k", "3"] in [row[:2] for row in rows]
        assert max(map(len, tty.rows())) <= 40
