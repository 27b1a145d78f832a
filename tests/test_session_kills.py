"""Sessions of processes that are killed: nothing is lost that a save had returned for."""

from __future__ import annotations

import random
import signal
import subprocess
import sys
import time
from pathlib import Path

from minichat.sessions import Sessions

KILLS = 60
# Tells each thing that is safely kept, then what it says next, one line each.
CHILD = """
import sys, time
from pathlib import Path
from minichat import session
from minichat.conversation import Conversation
from minichat.sessions import Sessions

session.HEARD_EVERY_S = 0.0
kept, saved = Sessions(Path(sys.argv[1]), lambda _: None).open_or_new("work")
conversation = Conversation("v7", None, saved.messages if saved else [])
if len(conversation.messages) % 2:  # the last question was not answered
    conversation.messages.pop()
first = len(conversation.messages)
say = lambda *words: (sys.stdout.write(" ".join(map(str, words)) + "\\n"), sys.stdout.flush())
for turn in range(10_000):
    conversation.ask(f"question {first} {turn} " + "x" * (turn % 7) * 500)
    kept.save(conversation, "demo")
    say("saved", len(conversation.messages))
    for number in range(turn % 5 * 4):
        kept.hear(f"word{number} ")
        say("heard", len(conversation.messages), number + 1)
        time.sleep(0.0005)
    conversation.answer("an answer " + "y" * (turn % 3) * 3000, tuple(range(turn % 400)))
    if turn % 11 == 10:
        del conversation.messages[:2]
    kept.save(conversation, "demo")
    say("saved", len(conversation.messages))
"""

# Opens a session and goes on with it for some turns, again and again; tells their names.
SHARING = """
import sys
from pathlib import Path
from minichat.conversation import Conversation
from minichat.sessions import Sessions

def fail(message):
    raise SystemExit(message)

for again in range(5):
    session, saved = Sessions(Path(sys.argv[1]), fail).open_or_new("work")
    conversation = Conversation("v7", None, saved.messages if saved else [])
    for turn in range(4):
        conversation.ask("question")
        session.save(conversation, "demo")
        conversation.answer(f"{sys.argv[2]}{again}", None)
        session.save(conversation, "demo")
    session.close()
    print(session.name)
"""


def killed(folder: Path, wait_s: float) -> list[list[str]]:
    """What a child had told when it was killed, some time after its first word."""
    process = subprocess.Popen([sys.executable, "-c", CHILD, str(folder)], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    told = [process.stdout.readline()]
    time.sleep(wait_s)
    process.send_signal(signal.SIGKILL)
    told += process.stdout.readlines()
    process.wait()
    process.stdout.close()
    return [line.split() for line in told if line.endswith("\n")]


def test_kills_lose_nothing_that_was_saved(tmp_path: Path, seed: int = 3) -> None:
    rng = random.Random(seed)
    folder = tmp_path / "sessions"
    sessions = Sessions(folder)
    n_cut = 0
    for number in range(KILLS):
        if number % 10 == 0:
            folder = tmp_path / f"sessions{number}"  # a long conversation would be copied again and again
            sessions = Sessions(folder)
        told = killed(folder, rng.random() * 0.04)
        session, saved = sessions.open("work")
        session.close()
        assert saved.damaged_line is None
        assert saved.forked_from is None  # a killed process leaves no lock
        word, count, *heard = told[-1]
        said = saved.messages[:-1] if saved.cut else saved.messages
        n_cut += saved.cut
        if word == "heard" and len(said) == int(count):
            assert saved.cut
            assert len(saved.messages[-1].text.split()) >= int(heard[0])
        # What was under way when the kill came may have been written, too: one more message, or one turn less.
        assert len(said) - int(count) in (0, 1, -1), (told[-1], len(said))
        for question, answer in zip(said[::2], said[1::2], strict=False):
            assert (question.role, answer.role) == ("user", "assistant")
            assert question.text.startswith("question ")
            assert answer.text.startswith(("an answer ", "word0 "))
    assert n_cut > 5


def test_many_chats_at_once_keep_their_conversations_apart(tmp_path: Path) -> None:
    """All want one session: who has it writes there, the others get copies, and no file holds two conversations."""
    folder = tmp_path / "sessions"
    children = [
        subprocess.Popen([sys.executable, "-c", SHARING, str(folder), letter], stdout=subprocess.PIPE, text=True)
        for letter in "abcdef"
    ]
    told = [child.communicate()[0].split() for child in children]
    assert [child.returncode for child in children] == [0] * len(children)
    sessions = Sessions(folder)
    for name in sessions.names():
        saved = sessions.read(name)
        assert saved.damaged_line is None
        roles = "".join(message.role[0] for message in saved.messages)
        assert "aa" not in roles  # but a copy may have been made while an answer was under way
    for letter, names in zip("abcdef", told, strict=True):
        assert len(names) == 5
        for again, name in enumerate(names):
            said = [message.text for message in sessions.read(name).messages]
            assert said.count(f"{letter}{again}") == 4
