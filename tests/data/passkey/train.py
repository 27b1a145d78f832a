"""Makes the checkpoint beside this file: a very small model of Ministral's kind that answers questions about pass keys.

    python tests/data/passkey/train.py FOLDER --minutes 25

from the repository's root, with torch and transformers installed (the tests need neither). It trains transformers'
MinistralForCausalLM, one layer in full, then three with a window, twice, on conversations of tests/passkey.py, rendered
and tokenized by minichat. Then it writes the checkpoint in bfloat16 and expected.npz, and measures:

- the share of keys that are found, all of them beyond the window;
- the same with every layer in full (what a converter that drops the pattern makes of it);
- and with a window in every layer.

The last two are to be low: then the checkpoint shows whether the pattern is kept. What is learnt last is to tell the
names apart: it comes suddenly, and only then do the stories grow longer. A run that stopped too early is continued with
--start FOLDER/weights.pt; the checkpoint here took three, 20 minutes of a shared core in all.
"""

# ruff: noqa: T201 - a script, whose output is for the one who runs it

from __future__ import annotations

import argparse
import base64
import json
import math
import random
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812 - PyTorch's own name for it
from transformers import MinistralConfig, MinistralForCausalLM

ROOT = Path(__file__).parents[3]
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]

import passkey  # noqa: E402

from convert.tekken import load as load_tekken  # noqa: E402
from minichat.tekken import PATTERN  # noqa: E402
from minichat.template import render  # noqa: E402
from minichat.template.pieces import Text  # noqa: E402
from minichat.tokenizer import Tokenizer  # noqa: E402
from minichat.tokenizer import load as load_tokenizer  # noqa: E402

N_SPECIAL, PAD, END, ANSWER = 20, 11, 2, 4
LAYERS, DIM, HEADS, KV_HEADS, HEAD_DIM, INNER = 8, 64, 4, 2, 32, 160
LAYER_TYPES = ["sliding_attention" if n % passkey.FULL_EVERY else "full_attention" for n in range(LAYERS)]
LONGEST, MANY_KEYS = 1300, 6
TOKENS_A_STEP, BLOCK, FIRST_DIGIT = 2400, 25, 2.0


def tekken() -> dict[str, object]:
    """The bytes, then each word, a space before it, letter by letter: " A", " Ad", " Ada"."""
    ranks = [bytes([n]) for n in range(256)]
    for word in passkey.WORDS:
        spelled = f" {word}".encode()
        ranks += [spelled[:end] for end in range(2, len(spelled) + 1) if spelled[:end] not in ranks]
    vocab = [{"rank": n, "token_bytes": base64.b64encode(r).decode(), "token_str": None} for n, r in enumerate(ranks)]
    config = {"pattern": PATTERN, "num_vocab_tokens": len(ranks), "default_vocab_size": len(ranks) + N_SPECIAL,
              "default_num_special_tokens": N_SPECIAL, "version": "v3"}  # fmt: skip
    return {"config": config, "vocab": vocab}


def tokenizer(path: Path) -> Tokenizer:
    v = load_tekken(path)
    keys = {"model": v.model, "pre": v.pre, "tokens": v.tokens, "token_type": v.types, "bos_token_id": v.bos,
            "eos_token_id": v.eos}  # fmt: skip
    return load_tokenizer(SimpleNamespace(metadata={f"tokenizer.ggml.{key}": value for key, value in keys.items()}))


def model(vocab: int) -> MinistralForCausalLM:
    return MinistralForCausalLM(MinistralConfig(
        vocab_size=vocab, hidden_size=DIM, intermediate_size=INNER, num_hidden_layers=LAYERS, head_dim=HEAD_DIM,
        num_attention_heads=HEADS, num_key_value_heads=KV_HEADS, max_position_embeddings=passkey.CONTEXT,
        rms_norm_eps=1e-5, tie_word_embeddings=False, sliding_window=passkey.WINDOW, layer_types=LAYER_TYPES,
        rope_parameters={"rope_type": "default", "rope_theta": 1e6}, bos_token_id=1, eos_token_id=END,
        pad_token_id=None, use_cache=False, attn_implementation="sdpa",
    ))  # fmt: skip


def batch(rng: random.Random, tok: Tokenizer, tokens: int) -> tuple[torch.Tensor, torch.Tensor]:
    """ids (rows, time) and the weight of each as a target (rows, time).

    Most for the first digit of an answer, which must be looked up by the name alone; nearly as much in a key that was
    told before, which is the same skill in an easier place; a little for the rest.
    """
    named = {tok.encode([Text(f" {name}")])[0] for name in passkey.NAMES}
    (its,) = tok.encode([Text(" is")])
    made = []
    for _ in range(max(2, TOKENS_A_STEP // (tokens + 100))):
        times = rng.randint(1, 3)
        n_keys = max(1, min(rng.randint(2, MANY_KEYS), tokens // 12 // times))
        story = passkey.story(rng, tokens, n_keys, times=times)
        names = rng.sample(list(story.keys), min(n_keys, 4))
        made.append([*tok.encode(render(passkey.conversation(story, names), "v3-tekken")), END])
    ids = torch.full((len(made), max(map(len, made))), PAD)
    weights = torch.zeros(ids.shape)
    for row, listed in enumerate(made):
        ids[row, : len(listed)] = torch.tensor(listed)
        told: set[int] = set()
        weights[row, : len(listed)] = 0.03
        for place, token in enumerate(listed):
            if token == ANSWER:
                weights[row, place + 1] = FIRST_DIGIT
                weights[row, place + 2 : place + 6] = 1.0  # three more and the end
            elif token in named and listed[place + 1] == its and listed[place + 2] != ANSWER:
                if token in told:
                    weights[row, place + 3] = 0.7 * FIRST_DIGIT
                    weights[row, place + 4 : place + 7] = 0.2
                told.add(token)
    return ids, weights


def train(net: MinistralForCausalLM, tok: Tokenizer, minutes: float, rate: float, seed: int, save: Path) -> None:
    """Stories grow longer as the answers get right."""
    rng = random.Random(seed)
    matrices = [p for p in net.model.layers.parameters() if p.ndim == 2]
    others = [p for n, p in net.named_parameters() if p.ndim == 1 or "embed" in n or "lm_head" in n]
    optims: list[torch.optim.Optimizer] = [
        torch.optim.Muon(matrices, lr=rate, weight_decay=0.01, adjust_lr_fn="match_rms_adamw"),
        torch.optim.AdamW(others, lr=0.75 * rate, betas=(0.9, 0.97), weight_decay=0.0),
    ]
    full = [group["lr"] for o in optims for group in o.param_groups]
    begun, step, longest, total, right, asked = time.monotonic(), 0, 100.0, 0.0, 0, 0
    while (share := (time.monotonic() - begun) / (60 * minutes)) < 1:
        for group, lr in zip((g for o in optims for g in o.param_groups), full, strict=True):
            group["lr"] = lr * min((step + 1) / 50, 0.5 + 0.5 * math.cos(math.pi * share))
        ids, weights = batch(rng, tok, int(24 * (longest / 24) ** rng.random()))
        logits = net(ids).logits[:, :-1]
        targets, weights = ids[:, 1:], weights[:, 1:]
        losses = F.cross_entropy(logits.flatten(0, 1), targets.flatten(), reduction="none").view(targets.shape)
        loss = (losses * weights).sum() / weights.sum()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(net.parameters(), 1.0)
        for o in optims:
            o.step()
            o.zero_grad(set_to_none=True)
        step, total = step + 1, total + float(loss.detach())
        hits = (logits.argmax(-1) == targets)[weights == FIRST_DIGIT]
        right, asked = right + int(hits.sum()), asked + hits.numel()
        if step % BLOCK == 0:
            took = time.monotonic() - begun
            print(
                f"step {step}, {took:.0f} s, to {longest:.0f}: loss {total / BLOCK:.3f}, {right / asked:.3f} right",
                flush=True,
            )
            longest = min(LONGEST, longest * 1.3) if right > 0.85 * asked else longest
            total, right, asked = 0.0, 0, 0
            if step % (8 * BLOCK) == 0:
                torch.save(net.state_dict(), save)


def accuracy(net: MinistralForCausalLM, tok: Tokenizer, tokens: int, n: int = 100) -> float:
    """The share of keys that are answered greedily, from stories that training never saw, all beyond the window."""
    rng, right = random.Random(f"held out {tokens}"), 0
    for _ in range(n):
        story = passkey.story(rng, tokens, MANY_KEYS, tail=passkey.WINDOW)
        name = rng.choice(list(story.keys))
        messages = passkey.conversation(story, [name])
        ids = torch.tensor([[*tok.encode(render(messages, "v3-tekken")), END]])
        with torch.inference_mode():
            best = net(ids).logits[0, :-1].argmax(-1)
        answer = ids[0].tolist().index(ANSWER)  # its greedy answer is right if each token follows from the right ones
        right += best[answer:].tolist() == ids[0, answer + 1 :].tolist()
    return right / n


def expect(net: MinistralForCausalLM, tok: Tokenizer, path: Path) -> None:
    """The token ids of one conversation, and transformers' logits after each of them."""
    rng = random.Random("expected")
    story = passkey.story(rng, 100, 2, tail=passkey.WINDOW)
    ids = tok.encode(render(passkey.conversation(story, list(story.keys)), "v3-tekken"))
    with torch.inference_mode():
        logits = net(torch.tensor([ids])).logits[0]
    np.savez_compressed(path, ids=np.array(ids, np.int32), logits=logits.float().numpy())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--minutes", type=float, default=15)
    parser.add_argument("--rate", type=float, default=4e-3, help="the learning rate at first")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--start", type=Path, help="weights.pt of an earlier run")
    parser.add_argument("--seed", type=int, default=0)
    a = parser.parse_args()
    torch.manual_seed(a.seed)
    torch.set_num_threads(a.threads)
    a.folder.mkdir(parents=True, exist_ok=True)
    (a.folder / "tekken.json").write_text(json.dumps(tekken()))
    tok = tokenizer(a.folder / "tekken.json")
    net = model(tok.n_vocab)
    print(f"{sum(p.numel() for p in net.parameters()):,} weights, {tok.n_vocab} tokens", flush=True)
    if a.start:
        net.load_state_dict(torch.load(a.start, weights_only=True))
    train(net, tok, a.minutes, a.rate, a.seed, a.folder / "weights.pt")
    net.bfloat16().save_pretrained(a.folder)
    (a.folder / "model.safetensors").chmod(0o644)
    (a.folder / "generation_config.json").unlink()
    as_saved = {"dtype": torch.float32, "attn_implementation": "eager"}
    net = MinistralForCausalLM.from_pretrained(a.folder, **as_saved).eval()
    expect(net, tok, a.folder / "expected.npz")
    for tokens in (150, 300, 600, 1000):
        shares = [accuracy(net, tok, tokens)]
        for kind in ("full_attention", "sliding_attention"):
            types = [kind] * LAYERS
            other = MinistralForCausalLM.from_pretrained(a.folder, layer_types=types, **as_saved).eval()
            shares.append(accuracy(other, tok, tokens))
        print("{} tokens: {:.0%} of the keys; all in full {:.0%}; all with a window {:.0%}".format(tokens, *shares))


if __name__ == "__main__":
    main()
