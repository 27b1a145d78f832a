"""A small trained model of Ministral's kind, from its checkpoint to its answers.

A key that stands far beyond the window is found: that takes the right pattern of attention from the converter, and the
right cache from the engine.
"""

from __future__ import annotations

import json
import random
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import llama_cpp
import llama_oracle
import numpy as np
import passkey
import pytest
from numpy.typing import NDArray
from passkey import CHECKPOINT, Story, question
from program import minichat

from convert.pipeline import convert
from minichat.engine.client import Engine
from minichat.engine.generation import prefill
from minichat.engine.llama import Llama
from minichat.engine.types import Done, LoadOptions, Sampling
from minichat.template import render
from minichat.template.messages import Message

N_STORIES = 8
N_SPECIAL = 20  # the first ids are control tokens
GREEDY = Sampling(temperature=0)
OPTIONS = LoadOptions(threads=2, device="cpu")


@pytest.fixture(scope="module")
def gguf(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("passkey") / "passkey.gguf"
    convert(CHECKPOINT, path, "f32")
    return path


@pytest.fixture
def engine(gguf: Path) -> Iterator[Engine]:
    with Engine(gguf, OPTIONS) as engine:
        yield engine


def stories(tokens: int, n: int = N_STORIES) -> list[Story]:
    """Ones that training never saw, all keys beyond the window when the question is asked."""
    rng = random.Random(f"test {tokens}")
    return [passkey.story(rng, tokens, n_keys=4, tail=passkey.WINDOW) for _ in range(n)]


def ask(engine: Engine, messages: list[Message]) -> Done:
    *_, done = engine.generate(render(messages, "v3-tekken"), GREEDY, max_tokens=8)
    assert isinstance(done, Done)
    return done


def first_turn(story: Story, name: str) -> list[Message]:
    return passkey.conversation(story, [name])[:-1]


def count_right(engine: Engine, told: list[Story]) -> int:
    """How many of the stories' first keys the model names."""
    return sum(ask(engine, first_turn(s, next(iter(s.keys)))).text == next(iter(s.keys.values())) for s in told)


def test_its_logits_are_those_of_transformers(gguf: Path) -> None:
    expected = np.load(CHECKPOINT / "expected.npz")
    assert len(expected["ids"]) > 3 * passkey.WINDOW
    assert np.abs(llama_oracle.logits(gguf, expected["ids"]) - expected["logits"]).max() < 0.001


def test_its_prompts_are_those_of_mistral_common(engine: Engine) -> None:
    from mistral_common.protocol.instruct.messages import AssistantMessage, UserMessage
    from mistral_common.protocol.instruct.request import ChatCompletionRequest
    from mistral_common.tokens.tokenizers.mistral import MistralTokenizer

    (story,) = stories(150, 1)
    messages = passkey.conversation(story, list(story.keys))[:-1]
    kinds = {"user": UserMessage, "assistant": AssistantMessage}
    request = ChatCompletionRequest(messages=[kinds[m.role](content=m.content) for m in messages])
    oracle = MistralTokenizer.from_file(str(CHECKPOINT / "tekken.json"))
    assert engine.tokenize(render(messages, "v3-tekken"))[0] == oracle.encode_chat_completion(request).tokens


@pytest.mark.parametrize("tokens", [150, 400, 900])
def test_keys_beyond_the_window_are_found(engine: Engine, tokens: int) -> None:
    told = stories(tokens)
    assert count_right(engine, told) == N_STORIES
    assert ask(engine, first_turn(told[0], next(iter(told[0].keys)))).reason == "eos"


def test_keys_in_a_text_longer_than_training_had(tmp_path: Path) -> None:
    """4,000 tokens: 125 windows. The second question is about the same text, which is not read again."""
    convert(passkey.stretched(tmp_path / "far", 8192), tmp_path / "far.gguf", "f32")
    (story,) = stories(4000, 1)
    with Engine(tmp_path / "far.gguf", replace(OPTIONS, ctx=8192)) as engine:
        costs = []
        for name, key in list(story.keys.items())[:3]:
            done = ask(engine, first_turn(story, name))
            assert done.text == key
            costs.append(done.stats.decoded_tokens)
    assert costs[0] > 3700
    assert max(costs[1:]) < 10


@pytest.mark.parametrize("kind", ["full_attention", "sliding_attention"])
def test_with_another_pattern_nothing_is_found(tmp_path: Path, kind: str) -> None:
    """The test of these tests: what a converter makes of the model that takes all layers to be alike."""
    alike = with_config(tmp_path / "alike", layer_types=[kind] * 8)
    convert(alike, tmp_path / "alike.gguf", "f32")
    with Engine(tmp_path / "alike.gguf", OPTIONS) as engine:
        assert count_right(engine, stories(400)) <= 1


def test_a_pattern_that_only_params_json_tells(tmp_path: Path) -> None:
    """As in Ministral 8B's repo: its config.json takes the window for the context, and tells of no pattern."""
    hiding: dict[str, Any] = {"architectures": ["MistralForCausalLM"], "model_type": "mistral"}
    hiding |= {"layer_types": None, "max_position_embeddings": passkey.WINDOW}
    folder = with_config(tmp_path / "hiding", **hiding)
    config = json.loads((folder / "config.json").read_text())
    assert config["sliding_window"] == passkey.WINDOW
    told = {
        "dim": "hidden_size", "n_layers": "num_hidden_layers", "head_dim": "head_dim", "vocab_size": "vocab_size",
        "hidden_dim": "intermediate_size", "n_heads": "num_attention_heads", "n_kv_heads": "num_key_value_heads",
        "norm_eps": "rms_norm_eps",
    }  # fmt: skip
    params = {key: config[name] for key, name in told.items()} | {"rope_theta": config["rope_parameters"]["rope_theta"]}
    params["_sliding_window"] = [None, *[passkey.WINDOW] * (passkey.FULL_EVERY - 1)]
    (folder / "params.json").write_text(json.dumps(params))
    convert(folder, tmp_path / "hiding.gguf", "f32")
    with Engine(tmp_path / "hiding.gguf", OPTIONS) as engine:
        assert count_right(engine, stories(400)) >= N_STORIES - 1


def with_config(folder: Path, **changes: Any) -> Path:
    """A copy of the checkpoint that says these things of itself."""
    shutil.copytree(CHECKPOINT, folder)
    config = json.loads((folder / "config.json").read_text()) | changes
    (folder / "config.json").write_text(json.dumps(config))
    return folder


def test_quantized_as_well(tmp_path: Path) -> None:
    convert(CHECKPOINT, tmp_path / "q8.gguf", "q8_0")
    with Engine(tmp_path / "q8.gguf", OPTIONS) as engine:
        assert count_right(engine, stories(400)) >= N_STORIES - 1


def test_minichat_run(gguf: Path) -> None:
    (story,) = stories(400, 1)
    name, key = next(iter(story.keys.items()))
    done = minichat("run", gguf, f"{story.text} {question(name)}", "--temperature", "0")
    assert (done.returncode, done.stdout, done.stderr) == (0, f"{key}\n", "")


# The cache. The layers with a window keep what the window and a batch hold: of 900 tokens the first are gone.


def test_a_second_turn_decodes_only_what_is_new(engine: Engine, gguf: Path) -> None:
    for story in stories(900, 3):
        names = list(story.keys)
        first = ask(engine, first_turn(story, names[0]))
        messages = [
            *first_turn(story, names[0]),
            Message("assistant", first.text, first.tokens),
            Message("user", question(names[1])),
        ]
        second = ask(engine, messages)
        assert second.stats.reused_tokens == first.stats.context_tokens
        assert (second.text, second.tokens) == (story.keys[names[1]], afresh(gguf, messages).tokens)


def test_an_answer_made_again_is_the_same(engine: Engine) -> None:
    """What /retry does: the cache is cut back by an answer, which the window's layers can still do."""
    for story in stories(900, 3):
        messages = first_turn(story, next(iter(story.keys)))
        first = ask(engine, messages)
        again = ask(engine, messages)
        assert again.tokens == first.tokens
        assert again.stats.reused_tokens == first.stats.prompt_tokens - 1


def test_a_cut_beyond_the_window_starts_anew(engine: Engine, gguf: Path) -> None:
    """Another question, early in a long conversation: the layers with a window have forgotten what stood before it."""
    (story,) = stories(1200, 1)
    name, key = next(iter(story.keys.items()))
    ask(engine, first_turn(story, name))
    begin = story.text.split(". ")[:12]  # fewer tokens than are forgotten, more than the window
    short = first_turn(Story(". ".join([*begin, f"The pass key of {name} is {key}."]), {name: key}), name)
    cut = ask(engine, short)
    assert cut.stats.prompt_tokens > 2 * passkey.WINDOW
    assert (cut.stats.reused_tokens, cut.tokens) == (0, afresh(gguf, short).tokens)


def test_the_cache_is_kept_exactly_where_it_is_whole(gguf: Path) -> None:
    """A token at place p of a windowed layer attends to p - WINDOW + 1 and what follows it: all of that, or nothing."""
    llama = Llama(gguf, OPTIONS)
    rng = random.Random("cut")
    ids = [rng.randrange(N_SPECIAL, llama.vocabulary) for _ in range(1000)]
    other = [next(i for i in range(N_SPECIAL, llama.vocabulary) if i != was) for was in ids]
    last_logits(llama, ids)
    forgotten = llama_cpp.llama_memory_seq_pos_min(llama._memory, 0)
    assert forgotten > 2 * passkey.WINDOW
    first_whole = forgotten + passkey.WINDOW - 1
    for place, reused in ((first_whole, first_whole), (first_whole - 1, 0)):
        llama.clear()
        llama._reuse.shelf.clear()
        last_logits(llama, ids)
        prompt = [*ids[:place], *other[place : place + 3]]
        assert llama.reuse(prompt) == reused
        continued = last_logits(llama, prompt)
        llama.clear()
        assert np.abs(continued - last_logits(llama, prompt)).max() < 0.2  # the cache is float16


def last_logits(llama: Llama, prompt: list[int]) -> NDArray[np.float32]:
    """(vocabulary,), after the last token of the prompt"""
    assert list(prefill(llama, prompt, lambda: False))[-1].done == len(prompt)
    found = llama_cpp.llama_get_logits_ith(llama._context, -1)
    return np.ctypeslib.as_array(found, (llama.vocabulary,)).copy()


def afresh(gguf: Path, messages: list[Message]) -> Done:
    with Engine(gguf, OPTIONS) as engine:
        return ask(engine, messages)
