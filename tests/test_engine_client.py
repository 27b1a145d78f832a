"""The engine process, through its client, on a small real model."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from checkpoints import SHARDED

from minichat.engine.client import Engine
from minichat.engine.types import Chunk, Done, LoadOptions, Prefill, Sampling
from minichat.template.pieces import Control, Text, Tokens
from quant.errors import ContextError, EngineError, GgufError, UsageError

GREEDY = Sampling(temperature=0)
QUESTION = [Control("<s>"), Control("[INST]"), Text("hello"), Control("[/INST]")]
EXPECTED = np.load(SHARDED / "expected.npz")  # ids: (n,) int32, logits: (n, vocab) float32, by transformers


@pytest.fixture(scope="module")
def engine(small_gguf: Path) -> Iterator[Engine]:
    with Engine(small_gguf, LoadOptions(ctx=256)) as engine:
        yield engine


def done(events: Iterator[object]) -> Done:
    *_, last = events
    assert isinstance(last, Done)
    return last


def test_the_model_is_described(engine: Engine, small_gguf: Path) -> None:
    info = engine.wait_loaded()
    assert (info.architecture, info.template, info.vocabulary) == ("llama", "v7-tekken", 1280)
    assert (info.ctx, info.ctx_train) == (256, 32768)
    assert info.size_bytes == small_gguf.stat().st_size
    assert engine.wait_loaded() is info


def test_the_best_token_is_that_of_transformers(known_gguf: Path) -> None:
    with Engine(known_gguf, LoadOptions(ctx=256)) as engine:
        for length in (1, 2, 17, 64, 96):
            ids = EXPECTED["ids"][:length]
            answer = done(engine.generate([Tokens(tuple(map(int, ids)))], GREEDY, max_tokens=1))
            assert answer.tokens == (int(EXPECTED["logits"][length - 1].argmax()),)


def test_chunks_are_the_answer(engine: Engine) -> None:
    *first, last = engine.generate(QUESTION, Sampling(temperature=1.5, seed=7), max_tokens=60)
    assert isinstance(last, Done)
    assert last.reason == "length"
    assert len(last.tokens) == last.stats.answer_tokens == 60
    assert "".join(event.text for event in first if isinstance(event, Chunk)) == last.text


def test_a_seed_repeats_an_answer_and_another_does_not(engine: Engine) -> None:
    answers = [
        done(engine.generate(QUESTION, Sampling(temperature=1.5, top_k=0, top_p=1, min_p=0, seed=seed), max_tokens=20))
        for seed in (1, 1, 2)
    ]
    assert answers[0].tokens == answers[1].tokens != answers[2].tokens


def test_a_seed_that_was_made_up_is_told_and_repeats_the_answer(engine: Engine) -> None:
    sampling = Sampling(temperature=1.5, top_k=0, top_p=1, min_p=0)
    first, second = (done(engine.generate(QUESTION, sampling, max_tokens=20)) for _ in range(2))
    seed = first.stats.seed
    assert seed is not None
    assert seed != second.stats.seed
    again = done(engine.generate(QUESTION, replace(sampling, seed=seed), max_tokens=20))
    assert (again.stats.seed, again.tokens) == (seed, first.tokens)
    assert done(engine.prefill(QUESTION)).stats.seed is None


def test_top_k_1_is_greedy(engine: Engine) -> None:
    greedy = done(engine.generate(QUESTION, GREEDY, max_tokens=10))
    assert (
        done(engine.generate(QUESTION, Sampling(temperature=2, top_k=1, seed=3), max_tokens=10)).tokens == greedy.tokens
    )
    assert (
        done(engine.generate(QUESTION, Sampling(temperature=2, top_p=1e-6, seed=3), max_tokens=10)).tokens
        == greedy.tokens
    )
    assert (
        done(engine.generate(QUESTION, Sampling(temperature=2, min_p=1, seed=3), max_tokens=10)).tokens == greedy.tokens
    )


def test_a_second_turn_decodes_only_what_is_new(small_gguf: Path) -> None:
    again = [Control("</s>"), Control("[INST]"), Text("and then?"), Control("[/INST]")]
    with Engine(small_gguf, LoadOptions(ctx=256)) as engine:
        first = done(engine.generate(QUESTION, GREEDY, max_tokens=12))
        turns = [*QUESTION, Tokens(first.tokens), *again]
        second = done(engine.generate(turns, GREEDY, max_tokens=12))
        # The prompt and all of the answer but its last token, which was sampled and never decoded.
        assert second.stats.reused_tokens == first.stats.prompt_tokens + 11
        edited = done(engine.generate([*QUESTION, Tokens(first.tokens[:4]), *again], GREEDY, max_tokens=12))
        assert edited.stats.reused_tokens == first.stats.prompt_tokens + 4
    with Engine(small_gguf, LoadOptions(ctx=256)) as engine:
        fresh = done(engine.generate(turns, GREEDY, max_tokens=12))
        assert fresh.stats.reused_tokens == 0
        assert fresh.tokens == second.tokens


def test_prefill_saves_the_work(small_gguf: Path) -> None:
    with Engine(small_gguf, LoadOptions(ctx=256)) as engine:
        assert done(engine.prefill(QUESTION)).tokens == ()
        answer = done(engine.generate(QUESTION, GREEDY, max_tokens=2))
        assert answer.stats.reused_tokens == answer.stats.prompt_tokens - 1


def test_stop_ends_an_answer_and_the_engine_goes_on(small_gguf: Path) -> None:
    with Engine(small_gguf, LoadOptions(ctx=8192)) as engine:
        seen = 0
        for event in engine.generate(QUESTION, Sampling(temperature=1.5, seed=1)):
            if isinstance(event, Chunk):
                seen += 1
                engine.stop()
        assert isinstance(event, Done)
        assert event.reason == "stop"
        assert seen < 50
        assert len(event.tokens) < 4000
        assert done(engine.generate(QUESTION, GREEDY, max_tokens=3)).reason == "length"


def test_stop_ends_a_long_prefill(small_gguf: Path) -> None:
    with Engine(small_gguf, LoadOptions(ctx=8192)) as engine:
        events = engine.generate([Tokens((1,) + (1100,) * 8000)], GREEDY)
        assert isinstance(next(events), Prefill)
        engine.stop()
        answer = done(events)
        assert (answer.reason, answer.tokens) == ("stop", ())
        # What was decoded before the stop is kept, and right.
        short = done(engine.generate(QUESTION, GREEDY, max_tokens=5))
    with Engine(small_gguf, LoadOptions(ctx=256)) as engine:
        assert done(engine.generate(QUESTION, GREEDY, max_tokens=5)).tokens == short.tokens


def test_a_stop_in_the_middle_of_a_long_request_waits_for_its_end(small_gguf: Path) -> None:
    with Engine(small_gguf, LoadOptions(ctx=256)) as engine:
        engine.wait_loaded()
        os.kill(engine._process.pid, signal.SIGSTOP)
        os.waitpid(engine._process.pid, os.WUNTRACED)  # stopped: the pipe fills up, and the write has to wait
        pressed = []

        def press_ctrl_c(*_: object) -> None:
            pressed.append(engine._writing)
            engine.stop()
            os.kill(engine._process.pid, signal.SIGCONT)

        before = signal.signal(signal.SIGALRM, press_ctrl_c)
        try:
            signal.setitimer(signal.ITIMER_REAL, 0.3)
            answer = engine.generate([Control("<s>"), Text("word " * 100_000)], GREEDY)
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)
            signal.signal(signal.SIGALRM, before)
        assert pressed == [True]
        with pytest.raises(ContextError):
            done(answer)
        assert done(engine.generate(QUESTION, GREEDY, max_tokens=2)).stats.answer_tokens == 2


def test_noise_on_the_pipe_ends_the_engine(small_gguf: Path) -> None:
    with Engine(small_gguf) as engine:
        engine.wait_loaded()
        assert engine._process.stdin is not None
        engine._process.stdin.write(b"noise\n")
        with pytest.raises(EngineError, match=r"^the engine died: exit code 1, .*something else than JSON"):
            done(engine.generate(QUESTION))


def test_a_gpu_that_is_not_there(small_gguf: Path) -> None:
    with Engine(None) as engine:
        has_gpu = engine.describe()["gpu_offload"]
    with Engine(small_gguf, LoadOptions(device="gpu")) as engine:
        if has_gpu:
            assert engine.wait_loaded().gpu_layers
        else:
            with pytest.raises(UsageError, match="--device gpu"):
                engine.wait_loaded()


def test_an_answer_given_up_is_not_in_the_way(engine: Engine) -> None:
    next(engine.generate(QUESTION, Sampling(temperature=1.5, seed=1)))
    assert done(engine.generate(QUESTION, GREEDY, max_tokens=3)).stats.answer_tokens == 3


def test_a_prompt_too_long_is_refused_with_its_length(engine: Engine) -> None:
    with pytest.raises(ContextError, match=r"the prompt is 300 tokens long, and the context holds 256"):
        done(engine.generate([Tokens((1,) * 300)]))
    assert done(engine.generate(QUESTION, GREEDY, max_tokens=1)).stats.answer_tokens == 1


def test_a_full_context_ends_the_answer(engine: Engine) -> None:
    answer = done(engine.generate([Tokens((1,) * 250)], Sampling(temperature=1.5, seed=5)))
    assert answer.reason == "context"
    assert len(answer.tokens) == 7  # positions 250 to 255, and one more drawn from the last logits


def test_text_is_tokenized_apart_from_control_tokens(engine: Engine) -> None:
    ids, spans = engine.tokenize([Control("[INST]"), Text("[INST]"), Control("[/INST]")])
    assert ids[0] == 3
    assert ids[-1] == 4
    assert all(token >= 1000 for token in ids[1:-1])
    assert spans == [("[INST]", True), ("[INST]", False), ("[/INST]", True)]


def test_absurd_sampling_is_refused(engine: Engine) -> None:
    with pytest.raises(UsageError, match="top-p 3"):
        done(engine.generate(QUESTION, Sampling(top_p=3)))


def test_vocab_only_does_not_generate(small_gguf: Path) -> None:
    with Engine(small_gguf, LoadOptions(vocab_only=True)) as engine:
        assert engine.tokenize(QUESTION)[0][:2] == [1, 3]
        with pytest.raises(EngineError, match="vocabulary"):
            done(engine.generate(QUESTION))


def test_a_context_beyond_the_model_is_refused(small_gguf: Path) -> None:
    with Engine(small_gguf, LoadOptions(ctx=40000)) as engine, pytest.raises(UsageError, match="32,768"):
        engine.wait_loaded()


def test_a_file_that_is_no_gguf(tmp_path: Path) -> None:
    (tmp_path / "x.gguf").write_bytes(b"not a model")
    with Engine(tmp_path / "x.gguf") as engine:
        for _ in range(2):
            with pytest.raises(GgufError):
                engine.wait_loaded()


def test_a_killed_engine_is_told_in_one_line(small_gguf: Path) -> None:
    with Engine(small_gguf) as engine:
        engine.wait_loaded()
        os.kill(engine._process.pid, signal.SIGKILL)
        for _ in range(2):
            with pytest.raises(EngineError, match=r"^the engine died: SIGKILL[^\n]*$"):
                done(engine.generate(QUESTION))


def test_a_closed_engine_says_so(small_gguf: Path) -> None:
    engine = Engine(small_gguf)
    engine.wait_loaded()
    engine.close()
    with pytest.raises(EngineError, match="it was closed"):
        done(engine.generate(QUESTION))


def test_an_unknown_request_is_an_error_and_no_more(engine: Engine) -> None:
    with pytest.raises(EngineError, match="nonsense"):
        engine._result(engine._send("nonsense"))
    assert done(engine.generate(QUESTION, GREEDY, max_tokens=1)).stats.answer_tokens == 1


def test_the_engine_dies_with_its_front(small_gguf: Path) -> None:
    front = (
        "import sys, time; from pathlib import Path; from minichat.engine.client import Engine\n"
        "engine = Engine(Path(sys.argv[1])); engine.wait_loaded(); print(engine._process.pid, flush=True)\n"
        "time.sleep(60)"
    )
    process = subprocess.Popen([sys.executable, "-c", front, str(small_gguf)], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    engine = int(process.stdout.readline())
    process.kill()
    process.communicate()
    deadline = time.monotonic() + 10
    while _is_running(engine):
        assert time.monotonic() < deadline, "the engine outlived its front"
        time.sleep(0.02)


def _is_running(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    state = Path(f"/proc/{process}/stat")  # a zombie that nobody has waited for is not running
    return not state.exists() or "Z" not in state.read_text().rsplit(")", 1)[1].split()[0]


def test_folders_of_the_user_are_not_taken_for_ours(
    small_gguf: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("quant", "convert", "minichat", "json"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "__init__.py").write_text("raise SystemExit('taken for ours')")
    monkeypatch.chdir(tmp_path)
    with Engine(small_gguf) as engine:
        assert engine.wait_loaded().architecture == "llama"


def test_what_a_library_prints_stays_out_of_the_protocol() -> None:
    code = (
        "import ctypes; from minichat.engine import devices, worker; libc = ctypes.CDLL(None)\n"
        "devices.describe = lambda: {'printed': libc.puts(b'noise') + libc.fflush(None) > 0}\n"
        "worker.main()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdin.write(b'{"id":1,"op":"info"}\n')
        process.stdin.flush()
        assert json.loads(process.stdout.readline()) == {"id": 1, "event": "done", "info": {"printed": True}}
        process.stdin.close()
        assert process.stdout.read() == b""
        assert process.stderr.read() == b"noise\n"
    assert process.returncode == 0


def test_the_machine_is_described() -> None:
    with Engine(None) as engine:
        facts = engine.describe()
    assert facts["llama-cpp-python"]
    assert any(device["kind"] == "CPU" and device["total_bytes"] > 0 for device in facts["devices"])
