"""The whole comparison with mistral-common: minutes, where the tests take a small part of it.

    python -m tests.oracle [--quick] [NAME ...]

NAME is a version of the template, a tokenizer's, or `pictures`; all of them if none is named. One line for each:

    a version    conversations until 2,000 were expressed, as many broken ones, and 5,000 with hostile texts in every
                 place: the same ids or both refuse, and no content becomes a control token
    a tokenizer  200,000 strings: the same ids; SentencePiece's vocabularies through llama.cpp, as the engine uses them
    pictures     10,000 sizes, for Mistral Small 3.1 and for Pixtral: the same size for the model, the same tokens

Exit code 1 if anything differs, with the first case that does. `--quick` takes a twentieth.
"""

from __future__ import annotations

import argparse
import random
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent))

import llama_oracle
import random_conversations
from mistral_common.tokens.tokenizers.mistral import MistralTokenizer
from mistral_oracle import (
    DATA,
    SENTENCEPIECES,
    VERSIONS,
    Header,
    header,
    oracle,
    sentencepiece_metadata,
    tekken_metadata,
)
from random_text import random_text, symbols_text
from template_checks import difference, difference_of_sizes, injected, injected_names, sizes

from minichat import tokenizer
from minichat.template.pieces import Text

TEKKENS = {"tekken-240718": "tekken_240718.json", "tekken-240911": "tekken_240911.json"}
TOKENIZERS = (*TEKKENS, *(f"sentencepiece-{version}" for version in SENTENCEPIECES))
CONVERSATIONS = 2_000
HOSTILE = 5_000
STRINGS = 200_000
PICTURES = 10_000


def main() -> int:
    parser = argparse.ArgumentParser(prog="tests.oracle")
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("name", nargs="*", choices=[[], *VERSIONS, *TOKENIZERS, "pictures"])
    given = parser.parse_args()
    part = 20 if given.quick else 1
    failed = False
    for name in given.name or (*VERSIONS, *TOKENIZERS, "pictures"):
        start = time.monotonic()
        if name == "pictures":
            told, problem = of_pictures(part)
        else:
            told, problem = of_version(name, part) if name in VERSIONS else of_tokenizer(name, part)
        sys.stdout.write(f"{name:17} {told}  {time.monotonic() - start:.0f} s\n")
        if problem is not None:
            sys.stdout.write(f"  DIFFERENT: {problem}\n")
            failed = True
        sys.stdout.flush()
    return int(failed)


def of_version(version: str, part: int) -> tuple[str, str | None]:
    rng = random.Random(f"oracle {version}")
    tried = expressed = 0
    counts = {True: 0, False: 0, None: 0}
    while expressed < CONVERSATIONS // part:
        messages, tools = random_conversations.conversation(rng, version)
        ok, problem = difference(messages, version, tools)
        if problem:
            return "conversations", problem
        tried, expressed = tried + 1, expressed + (ok is True)
    for _ in range(CONVERSATIONS // part):
        messages, tools = random_conversations.broken(rng, version)
        ok, problem = difference(messages, version, tools)
        if problem:
            return "broken conversations", problem
        counts[ok] += 1
    if case := injected(version, HOSTILE // part) or injected_names(version, HOSTILE // part):
        return "hostile texts", case
    told = (
        f"{expressed:,} conversations the same ids ({tried - expressed} both refuse);"
        f" broken: {counts[True]:,} the same ids, {counts[False]:,} both refuse, {counts[None]} only minichat;"
        f" {HOSTILE // part:,} hostile texts in each place, none a control token"
    )
    return told, None


def of_pictures(part: int) -> tuple[str, str | None]:
    ours = tokenizer.load(header("v7-tekken"))
    for limits in ((14, 1540, 2), (16, 1024, 1)):
        if problem := difference_of_sizes(ours, limits, sizes(PICTURES // part)):
            return "sizes of pictures", problem
    return f"{PICTURES // part:,} sizes of pictures, for two models: the same tokens and the same pixels", None


def of_tokenizer(name: str, part: int) -> tuple[str, str | None]:
    rng = random.Random(f"oracle {name}")
    with _encoders(name) as (ours, theirs):
        for _ in range(STRINGS // part):
            text = symbols_text(rng) if rng.random() < 0.05 else random_text(rng)
            if ours(text) != theirs(text):
                return "strings", f"{ours(text)} is not {theirs(text)} for {text!r}"
    return f"{STRINGS // part:,} strings the same ids", None


@contextmanager
def _encoders(name: str) -> Iterator[tuple[Callable[[str], list[int]], Callable[[str], list[int]]]]:
    """Text -> ids as minichat makes them, and as mistral-common does."""
    if name in TEKKENS:
        whole = MistralTokenizer.from_file(str(DATA / TEKKENS[name]))
        tekken = tokenizer.load(Header(tekken_metadata(whole, DATA / TEKKENS[name])))
        yield _encoder(tekken), _oracle(whole)
        return
    version = name.removeprefix("sentencepiece-")
    metadata = sentencepiece_metadata(version)
    with tempfile.TemporaryDirectory() as folder:
        path = llama_oracle.write_vocabulary(Path(folder) / "vocabulary.gguf", metadata)
        with llama_oracle.vocabulary(path) as vocab:
            spm = tokenizer.load(Header(metadata), lambda text: llama_oracle.tokenize(vocab, text))
            yield _encoder(spm), _oracle(oracle(version))


def _encoder(ours: tokenizer.Tokenizer) -> Callable[[str], list[int]]:
    return lambda text: ours.encode([Text(text)])


def _oracle(theirs: Any) -> Callable[[str], list[int]]:
    plain = theirs.instruct_tokenizer.tokenizer
    return lambda text: plain.encode(text, bos=False, eos=False)  # type: ignore[no-any-return]


if __name__ == "__main__":
    sys.exit(main())
