"""The ids that `verify` knows: by mistral-common, and by the engine."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path

import pytest
from mistral_common.tokens.tokenizers.mistral import MistralTokenizer
from mistral_oracle import DATA
from program import minichat

from convert import sentencepiece_model, tekken
from minichat import golden, verification
from minichat.golden import TEXT, expected_ids
from minichat.store import Store
from minichat.terminal.progress import WorkProgress
from quant.errors import EngineError

DEMO = Path(golden.__file__).parent / "demo" / "model" / "tekken.json"
FILES = [DEMO, *(path for path in sorted(DATA.iterdir()) if path.suffix != ".v7m1")]


def metadata(path: Path) -> dict[str, object]:
    vocabulary = (tekken if path.suffix == ".json" else sentencepiece_model).load(path)
    told = asdict(vocabulary)
    return {"tokenizer.ggml.tokens": told["tokens"], "tokenizer.ggml.token_type": told["types"]}


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_the_ids_are_mistral_common_s(path: Path) -> None:
    tokenizer = MistralTokenizer.from_file(str(path)).instruct_tokenizer.tokenizer
    assert expected_ids(metadata(path)) == tokenizer.encode(TEXT, bos=False, eos=False)


def test_another_vocabulary_is_not_known() -> None:
    told = metadata(DEMO)
    tokens, types = told["tokenizer.ggml.tokens"], told["tokenizer.ggml.token_type"]
    assert isinstance(tokens, list) and isinstance(types, list)
    swapped = [*tokens[:-2], tokens[-1], tokens[-2]]
    for odd in (
        told | {"tokenizer.ggml.tokens": swapped},
        told | {"tokenizer.ggml.tokens": tokens[:-1]},
        told | {"tokenizer.ggml.tokens": "x"},
        {"tokenizer.ggml.tokens": ["\ud800"], "tokenizer.ggml.token_type": [1]},
        {},
    ):
        assert expected_ids(odd) is None


@pytest.fixture
def demo(home: Path) -> Store:
    """A store with the demo in it."""
    done = minichat("convert", DEMO.parent, "-q", "q8_0", "--name", "mine")
    assert done.returncode == 0, done.stderr
    return Store.default()


@contextmanager
def ids_are(ids: list[int] | Exception, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    def here(_: Path) -> list[int]:
        if isinstance(ids, Exception):
            raise ids
        return ids

    with monkeypatch.context() as patch:
        patch.setattr(verification, "ids_here", here)
        yield


def test_a_model_s_own_ids_are_tried(demo: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    (verdict,) = verification.verify("mine", demo, WorkProgress)
    assert (verdict.problem, verdict.hash_checked, verdict.tokens_checked) == (None, True, True)
    right = expected_ids(metadata(DEMO))
    assert right is not None
    with ids_are([*right[:-1], right[-1] + 1], monkeypatch):
        (verdict,) = verification.verify("mine", demo, WorkProgress)
    assert verdict.problem == "its vocabulary gives other token ids than Mistral's own tokenizer"
    with ids_are(EngineError("it died"), monkeypatch):
        (verdict,) = verification.verify("mine", demo, WorkProgress)
    assert verdict.problem == "its vocabulary cannot be loaded: it died" and "doctor" in verdict.advice
    path = demo.path(demo.models()[0])
    (verdict,) = verification.verify(str(path.with_name("..") / "blobs" / path.name), demo, WorkProgress)
    assert (verdict.hash_checked, verdict.tokens_checked) == (False, True)
