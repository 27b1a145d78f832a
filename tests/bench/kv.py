"""What is not decoded twice, and what that spares.

    python -m tests.bench.kv MODEL FOLDER [TOKENS …]

turn 20        of a chat: the prompt's tokens that are decoded             all of them
/retry         after a long answer, on a model with windows: seconds       without the copies of its windows
/load          to another session and back: seconds                        the same, all decoded again
/model         to another model and back: seconds to the first token       both models loaded again
pass keys      that are found in a text of so many TOKENS
"""

import random
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from tests.bench.measure import heading, row, run, turns

TURNS, WORDS, ANSWER_TOKENS = 20, 12, 8
LONG_PROMPT, LONG_ANSWER = 3000, 900
SESSION_TOKENS = 600
CONTEXT_SPARE = 600


def measure(model: Path, folder: Path, tokens: Sequence[int] = (4000, 16000)) -> None:
    """Rows of the table, measured in a process of its own. model: any; folder: for files."""
    heading("without")
    command = [sys.executable, "-m", "tests.bench.kv", str(model), str(folder), *map(str, tokens)]
    print(run(command).output, end="", flush=True)


def main(model: Path, folder: Path, tokens: Sequence[int]) -> None:
    sys.path.insert(0, str(Path(__file__).parents[1]))
    import passkey

    from convert.pipeline import convert

    far = folder / "far.gguf"
    convert(passkey.stretched(folder / "far", max([*tokens, 8000]) + CONTEXT_SPARE), far, "f32")
    turn_20(model)
    retry(far)
    load(model)
    switch(model)
    for length in tokens:
        pass_keys(far, length)


def turn_20(model: Path) -> None:
    """A conversation of pieces as the chat's, the answers' own ids in it."""
    from minichat.engine.client import Engine
    from minichat.engine.types import Done, LoadOptions, Sampling
    from minichat.template import render
    from minichat.template.messages import Message

    def last(engine: Engine, messages: list[Message]) -> Done:
        pieces = render(messages, "v7-tekken")
        *_, done = engine.generate(pieces, Sampling(temperature=0), max_tokens=ANSWER_TOKENS)
        assert isinstance(done, Done)
        return done

    messages: list[Message] = []
    with Engine(model, LoadOptions(ctx=2048)) as engine, Engine(model, LoadOptions(ctx=2048)) as other:
        for turn in range(1, TURNS + 1):
            messages.append(Message("user", " ".join(f"word{turn}x{n}" for n in range(WORDS))))
            done = last(engine, messages)
            if turn == TURNS:
                fresh = last(other, messages)
                assert fresh.stats.decoded_tokens == done.stats.prompt_tokens
            messages.append(Message("assistant", done.text, done.tokens))
    row("turn 20: tokens decoded", done.stats.decoded_tokens, fresh.stats.decoded_tokens, "what is new", digits=0)
    row("turn 20: first token, s", done.stats.first_token_s, fresh.stats.first_token_s, "below 1.00", digits=3)


def retry(model: Path) -> None:
    """The same prompt again after an answer that is longer than what the windows' layers keep."""
    from minichat.engine.llama import Llama
    from minichat.engine.types import LoadOptions

    llama = Llama(model, LoadOptions(ctx=8192, device="cpu"))
    ids = _ids(llama.vocabulary, LONG_PROMPT + LONG_ANSWER)

    def again(keeps: bool) -> tuple[float, int]:
        llama.clear()
        llama._reuse.shelf.clear()
        if not keeps:
            llama._reuse.shelf._free = lambda: 0
        _read(llama, ids[:LONG_PROMPT])
        llama.decode(ids[LONG_PROMPT : LONG_PROMPT + 1])
        for n in range(LONG_PROMPT + 1, len(ids), 64):
            llama.decode(ids[n : n + 64])
        return _read(llama, ids[:LONG_PROMPT])

    ours = again(keeps=True)
    theirs = again(keeps=False)
    what = f"/retry behind {LONG_ANSWER} tokens, windows"
    row(f"{what}: decoded", ours[1], theirs[1], digits=0)
    row(f"{what}: s", ours[0], theirs[0], "below 1.00", digits=3)


def load(model: Path) -> None:
    """One conversation, another, and the first one again: from the branch that was set aside, or decoded again."""
    from minichat.engine.llama import Llama
    from minichat.engine.types import LoadOptions

    llama = Llama(model, LoadOptions(ctx=2048))
    one, other = _ids(llama.vocabulary, SESSION_TOKENS), _ids(llama.vocabulary, SESSION_TOKENS)[::-1]

    def back(keeps: bool) -> tuple[float, int]:
        llama.clear()
        llama._reuse.shelf.clear()
        _read(llama, one)
        _read(llama, other)
        if not keeps:
            llama._reuse.shelf.clear()
        return _read(llama, [*one, 30])

    ours, theirs = turns(2, lambda: back(True), lambda: back(False))
    what = f"/load, {SESSION_TOKENS} tokens, and back"
    row(f"{what}: s", min(ours)[0], min(theirs)[0], "below 1.00", digits=3)


def switch(model: Path) -> None:
    """What /model waits for on the way back: an engine that was kept, next to one that is started."""
    from minichat.engine.client import Engine
    from minichat.engine.types import LoadOptions, Sampling
    from minichat.template.pieces import Control, Text

    pieces = [Control("<s>"), Control("[INST]"), Text("word " * 300), Control("[/INST]")]

    def first_token(engine: Engine) -> None:
        engine.wait_loaded()
        for _ in engine.generate(pieces, Sampling(temperature=0), max_tokens=1):
            pass

    def started() -> float:
        begin = time.perf_counter()
        with Engine(model, LoadOptions(ctx=2048)) as engine:
            first_token(engine)
            return time.perf_counter() - begin

    with Engine(model, LoadOptions(ctx=2048)) as kept:
        first_token(kept)
        ours, theirs = turns(2, lambda: _timed(lambda: first_token(kept)), started)
    row("/model, and back: first token, s", statistics.median(ours), statistics.median(theirs), "below 1.00")


def pass_keys(model: Path, length: int) -> None:
    """Two keys of one text; the second question costs the question alone."""
    import passkey

    from minichat.engine.client import Engine
    from minichat.engine.types import Done, LoadOptions, Sampling
    from minichat.template import render

    story = passkey.story(random.Random(f"bench {length}"), length, n_keys=4, tail=passkey.WINDOW)
    found, decoded = 0, []
    with Engine(model, LoadOptions(ctx=length + CONTEXT_SPARE, device="cpu")) as engine:
        for name in list(story.keys)[:2]:
            asked = render(passkey.conversation(story, [name])[:-1], "v3-tekken")
            *_, done = engine.generate(asked, Sampling(temperature=0), max_tokens=8)
            assert isinstance(done, Done)
            found += done.text == story.keys[name]
            decoded.append(done.stats.decoded_tokens)
    row(f"pass keys in {decoded[0]:,} tokens: found", found, None, "2 of 2", digits=0)
    row("  the second question: tokens decoded", decoded[1], decoded[0], "the question", digits=0)


def _ids(vocabulary: int, n: int) -> list[int]:
    rng = random.Random(vocabulary)
    return [rng.randrange(20, vocabulary) for _ in range(n)]


def _read(llama: "Llama", prompt: Sequence[int]) -> tuple[float, int]:  # type: ignore[name-defined]  # noqa: F821
    """Has a prompt read; the seconds, and how many tokens of it were decoded."""
    from minichat.engine.generation import prefill

    begin = time.perf_counter()
    *_, last = prefill(llama, prompt, lambda: False)
    return time.perf_counter() - begin, len(prompt) - last.reused


def _timed(call: Callable[[], None]) -> float:
    begin = time.perf_counter()
    call()
    return time.perf_counter() - begin


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]), [int(text) for text in sys.argv[3:]])
