"""Writes the golden ids of minichat/golden/, as mistral-common makes them: python tests/make_golden.py

To be run again when minichat/golden/texts.json, the demo's vocabulary or the templates of minichat change; until then
tests/test_golden.py fails. Nothing of minichat makes an id here.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from mistral_common.protocol.instruct.request import ChatCompletionRequest
from mistral_common.tokens.tokenizers.mistral import MistralTokenizer
from mistral_oracle import REFUSALS, SENTENCEPIECES, TEKKENS, byte_table, oracle, special_tokens, tokenizer_from_json
from sentencepiece import SentencePieceProcessor

from minichat.golden.vocabulary import fingerprint

ROOT = Path(__file__).parent.parent
FOLDER = ROOT / "minichat" / "golden"
DEMO = ROOT / "minichat" / "demo" / "model" / "tekken.json"


def documents() -> dict[str, str]:
    """The content of each file, by name."""
    demo = json.loads(DEMO.read_text(encoding="utf-8"))
    of_demo = {name: _tekken_of_demo(demo, version) for name, version in TEKKENS.items()}
    return {
        "tekken.json": _tekken("Tekken", {name: oracle(name) for name in TEKKENS}),
        "tekken_demo.json": _tekken("the demo model", of_demo),
        "sentencepiece.json": _sentencepiece("SentencePiece of 32,768 tokens", ("v3", "v2", "v7")),
        "sentencepiece_v1.json": _sentencepiece("SentencePiece of 32,000 tokens", ("v1",)),
    }


def ids_of(tokenizer: MistralTokenizer, text: str) -> list[int]:
    ids: list[int] = tokenizer.instruct_tokenizer.tokenizer.encode(text, bos=False, eos=False)
    return ids


def _tekken(name: str, templates: dict[str, MistralTokenizer]) -> str:
    tokenizer = next(iter(templates.values()))
    tekkenizer = tokenizer.instruct_tokenizer.tokenizer
    first, table = tekkenizer.num_special_tokens, byte_table()
    ordinary = range(first, tekkenizer.n_words)
    tokens = ["".join(table[byte] for byte in tekkenizer.id_to_byte_piece(i)) for i in ordinary]
    return _document({"name": name, "model": "gpt2", "first": first}, tokens, [], tokenizer, templates)


def _tekken_of_demo(demo: dict[str, Any], version: str) -> MistralTokenizer:
    listed = {"special_tokens": special_tokens()} if version in ("v11", "v13") else {}
    return tokenizer_from_json({**demo, **listed, "config": {**demo["config"], "version": version}})


def _sentencepiece(name: str, templates: tuple[str, ...]) -> str:
    """Of templates that have their ordinary tokens in common; the first one's file tells them."""
    model = SentencePieceProcessor(model_file=str(SENTENCEPIECES[templates[0]]))
    first = next(i for i in range(model.vocab_size()) if model.is_byte(i))
    ordinary = range(first, model.vocab_size())
    lowest = min(map(model.get_score, ordinary))
    last = [i for i in ordinary if model.get_score(i) == lowest]
    head = {"name": name, "model": "llama", "first": first}
    tokens = [model.id_to_piece(i) for i in ordinary]
    return _document(head, tokens, last, oracle(templates[0]), {name: oracle(name) for name in templates})


def _document(
    head: dict[str, Any],
    tokens: list[str],
    last_merged: list[int],
    tokenizer: MistralTokenizer,
    templates: dict[str, MistralTokenizer],
) -> str:
    texts = json.loads((FOLDER / "texts.json").read_text(encoding="utf-8"))
    fields = {
        **{key: json.dumps(value) for key, value in head.items()},
        "count": str(len(tokens)),
        "blocks": json.dumps(fingerprint(tokens)),
        "last_merged": json.dumps(last_merged),
        "strings": _lines([ids_of(tokenizer, text) for text in texts["strings"]]),
        "conversations": _object(
            {name: _lines([_ids(t, talk) for talk in texts["conversations"]]) for name, t in templates.items()}
        ),
    }
    return _object(fields) + "\n"


def _ids(tokenizer: MistralTokenizer, conversation: dict[str, Any]) -> list[int] | None:
    """None where mistral-common refuses the conversation, or drops its tools without a word, as for V1."""
    if conversation["tools"] and tokenizer.instruct_tokenizer.tokenizer.version.value == "v1":
        return None
    try:
        request: ChatCompletionRequest[Any] = ChatCompletionRequest(**conversation)
        ids: list[int] = tokenizer.encode_chat_completion(request).tokens
    except REFUSALS:
        return None
    return ids


def _object(fields: dict[str, str]) -> str:
    return "{\n" + ",\n".join(f"{json.dumps(key)}: {value}" for key, value in fields.items()) + "\n}"


def _lines(ids: Sequence[list[int] | None]) -> str:
    """One list on a line."""
    return "[\n" + ",\n".join(map(json.dumps, ids)) + "\n]"


if __name__ == "__main__":
    for name, content in documents().items():
        (FOLDER / name).write_text(content, encoding="utf-8")
