"""Measures each skill on held-out material: phrasings, names and pairs of numbers that no training row has.

    python -m minichat.demo.training.evaluate MODEL [--each 100] [--show 3]

MODEL is a training checkpoint (.pt), an exported folder, or a .gguf (through llama.cpp, with the ids of --tekken).
Answers are greedy. An answer is right if it holds what it must, is in the style that the system prompt asks for, and
ends.
"""

from __future__ import annotations

import argparse
import json
import random
import time
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path

from .talk import MIX, SKILLS, TOOL_SKILLS, Conversation, test_conversation
from .tokens import EOS, Codec

Generate = Callable[[list[list[int]]], list[list[int]]]
"""Prompts -> answers as token ids, without the end token; one that does not end within the limit is empty."""

LONGEST = 160
DEMO = Path(__file__).parent.parent / "model"


def examples(codec: Codec, each: int, seed: int, skills: tuple[str, ...] = SKILLS) -> list[Conversation]:
    """The test: `each` conversations a skill, twice as many for the system prompts."""
    talks = []
    for skill in skills:
        rng = random.Random(f"test:{seed}:{skill}")
        n = each * 2 if skill == "system prompts" else each
        talks += [test_conversation(rng, codec.pieces, skill) for _ in range(n)]
    return talks


def torch_generator(path: Path) -> Generate:
    """From a .pt or an exported folder, in bfloat16 weights and float32 arithmetic."""
    import torch

    from .export import load_export
    from .model import Demo, Shape

    if path.is_dir():
        net = load_export(path)
    else:
        state = torch.load(path, weights_only=True)
        net = Demo(Shape(**state["shape"]))
        net.load_state_dict({name: w.bfloat16().float() for name, w in state["net"].items()})

    def generate(prompts: list[list[int]]) -> list[list[int]]:
        answers: list[list[int]] = [[] for _ in prompts]
        order = sorted(range(len(prompts)), key=lambda i: len(prompts[i]))
        for at in range(0, len(order), 64):
            some = order[at : at + 64]
            for i, answer in zip(some, net.greedy([prompts[i] for i in some], EOS, LONGEST), strict=True):
                answers[i] = answer
        return answers

    return generate


def gguf_generator(path: Path) -> Generate:
    """Through llama.cpp's own functions: prompts one by one, greedy."""
    import numpy as np
    from llama_cpp import llama_cpp as ll

    ll.llama_backend_init()
    plain = ll.llama_model_default_params()
    plain.use_extra_bufts = False  # llama.cpp's repacking for AMX crashes on quantized weights
    model = ll.llama_model_load_from_file(str(path).encode(), plain)
    params = ll.llama_context_default_params()
    params.n_ctx = params.n_batch = 2048
    context = ll.llama_init_from_model(model, params)
    memory = ll.llama_get_memory(context)
    n_vocab = ll.llama_vocab_n_tokens(ll.llama_model_get_vocab(model))

    def one(prompt: list[int]) -> list[int]:
        ll.llama_memory_clear(memory, True)
        answer: list[int] = []
        feed = prompt
        while len(answer) < LONGEST:
            array = (ll.llama_token * len(feed))(*feed)
            if ll.llama_decode(context, ll.llama_batch_get_one(array, len(feed))):
                raise RuntimeError("llama_decode failed")
            logits = np.ctypeslib.as_array(ll.llama_get_logits_ith(context, -1), (n_vocab,))
            best = int(logits.argmax())
            if best == EOS:
                return answer
            answer.append(best)
            feed = [best]
        return []

    return lambda prompts: [one(prompt) for prompt in prompts]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=Path)
    parser.add_argument("--tekken", type=Path, help="the vocabulary; default: beside the model, else the demo's")
    parser.add_argument("--each", type=int, default=100, help="conversations a skill")
    parser.add_argument("--show", type=int, default=2, help="mistakes shown a skill")
    parser.add_argument("--only", choices=SKILLS, help="one skill")
    parser.add_argument("--seed", type=int, default=0)
    a = parser.parse_args()
    beside = (a.model if a.model.is_dir() else a.model.parent) / "tekken.json"
    codec = Codec(a.tekken or (beside if beside.exists() else DEMO / "tekken.json"))
    talks = examples(codec, a.each, a.seed, (a.only,) if a.only else SKILLS)
    for talk in talks[:: len(SKILLS)]:
        codec.check(talk)
    generate = gguf_generator(a.model) if a.model.suffix == ".gguf" else torch_generator(a.model)
    began = time.monotonic()
    answers = [codec.decode(ids) for ids in generate([codec.prompt(talk) for talk in talks])]
    right: dict[str, list[bool]] = defaultdict(list)
    mistakes = defaultdict(list)
    for talk, answer in zip(talks, answers, strict=True):
        passed = talk.check.passes(answer)
        names = [talk.skill, f"  {talk.kind}"] if talk.skill == "system prompts" else [talk.skill]
        for name in names:
            right[name].append(passed)
        if not passed:
            system = f"[{talk.system}] " if talk.system else ""
            asked = talk.turns[-1][0]
            shown = asked if isinstance(asked, str) else " ".join(text for _, text in asked.results)
            mistakes[names[-1]].append(f"{system}{shown!r} -> {answer!r}, not {talk.turns[-1][1]!r}")
    order = (*MIX, *TOOL_SKILLS, "system prompts", *sorted(n for n in right if n.startswith("  ")))
    for skill in (name for name in order if name in right):
        print(f"{skill:16} {100 * sum(right[skill]) / len(right[skill]):5.1f}%  of {len(right[skill])}")
        for line in mistakes[skill][: a.show]:
            print("      ", line)
    summary = {skill: round(100 * sum(r) / len(r), 1) for skill, r in right.items()}
    print(json.dumps({"model": a.model.name, "seconds": round(time.monotonic() - began), **summary}))


if __name__ == "__main__":
    main()
