import json
import random
import string
from pathlib import Path
from typing import Any

import llama_oracle
import mistral_common
import pytest
from checkpoints import config, tekken
from mistral_common.tokens.tokenizers.tekken import Tekkenizer

from convert.config import parse_config
from convert.gguf_writer import Writer, lay_out
from convert.metadata import build_metadata
from convert.tekken import byte_letters, load
from convert.vocab import TokenType, Vocabulary
from quant.errors import CheckpointError
from quant.types import parse_target

REAL = Path(mistral_common.__file__).parent / "data" / "tekken_240911.json"


@pytest.fixture(scope="module")
def theirs() -> Tekkenizer:
    return Tekkenizer.from_file(REAL)


@pytest.fixture(scope="module")
def ours() -> Vocabulary:
    return load(REAL)


def to_bytes(token: str) -> bytes:
    back = {letter: byte for byte, letter in byte_letters().items()}
    return bytes(back[letter] for letter in token)


def test_every_token_is_mistral_commons(ours: Vocabulary, theirs: Tekkenizer) -> None:
    assert len(ours.tokens) == theirs.n_words == 131072
    for n in range(theirs.num_special_tokens):
        assert (ours.tokens[n], ours.types[n]) == (theirs.id_to_piece(n), TokenType.CONTROL)
    for n in [*range(1000, 3000), *range(3000, theirs.n_words, 7), theirs.n_words - 1]:
        assert to_bytes(ours.tokens[n]) == theirs.id_to_byte_piece(n)
    assert (ours.bos, ours.eos, ours.unknown, ours.pad) == (theirs.bos_id, theirs.eos_id, theirs.unk_id, theirs.pad_id)
    assert (ours.model, ours.pre, ours.template) == ("gpt2", "tekken", "v3-tekken")


def test_letters_are_gpt_2s() -> None:
    from gguf.vocab import bytes_to_unicode

    assert byte_letters() == bytes_to_unicode()


def test_merges_lead_llama_cpp_to_mistral_commons_ids(tmp_path: Path, ours: Vocabulary, theirs: Tekkenizer) -> None:
    """On ASCII, where llama.cpp's pattern for Tekken is right."""
    path = tmp_path / "vocabulary.gguf"
    settings = parse_config(config(vocab=131072))
    layout = lay_out(build_metadata(settings, ours, parse_target("f32"), "test", None, {}), [])
    with path.open("wb") as file:
        Writer(file, layout)
    rng = random.Random(4)
    words = ["the", "Hello", "tokenization", "naively", "42", "e.g.", "  ", "\n\n"]
    with llama_oracle.vocabulary(path) as vocab:
        for _ in range(500):
            text = "".join(rng.choice([*words, " ", *rng.choices(string.printable[:95], k=6)]) for _ in range(20))
            assert llama_oracle.tokenize(vocab, text) == theirs.encode(text, bos=False, eos=False), text


def write(tmp_path: Path, content: Any) -> Path:
    path = tmp_path / "tekken.json"
    path.write_text(json.dumps(content))
    return path


@pytest.mark.parametrize(("version", "template"), [("v3", "v3-tekken"), ("v7", "v7-tekken"), ("v2", "v2")])
def test_the_version_names_the_template(tmp_path: Path, version: str, template: str) -> None:
    assert load(write(tmp_path, tekken(version=version))).template == template


def test_a_list_of_special_tokens_is_followed(tmp_path: Path) -> None:
    listed = ["<unk>", "<s>", "</s>", "[NEW]"]
    content = tekken(version="v11")
    content["special_tokens"] = [{"rank": n, "token_str": s, "is_control": True} for n, s in enumerate(listed)]
    found = load(write(tmp_path, content))
    assert found.tokens[:20] == [*listed, *(f"<SPECIAL_{n}>" for n in range(4, 20))]
    assert (found.template, found.pad) == ("v11", None)
    for version in ("v13", "v15"):
        content["config"]["version"] = version
        assert load(write(tmp_path, content)).template == version


def broken(change: Any) -> dict[str, Any]:
    content = tekken()
    change(content)
    return content


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({}, "has no config"),
        (broken(lambda c: c["config"].pop("version")), "has no version"),
        (broken(lambda c: c["config"].update(version="v11")), "must list its special tokens"),
        (broken(lambda c: c["config"].update(default_num_special_tokens=10)), "20 special tokens of 10"),
        (broken(lambda c: c["config"].update(default_num_special_tokens="20")), "default_num_special_tokens"),
        (broken(lambda c: c["config"].update(default_vocab_size=1 << 60)), "default_vocab_size"),
        (broken(lambda c: c["config"].update(default_vocab_size=100)), "fewer tokens than there are bytes"),
        (broken(lambda c: c["config"].update(default_vocab_size=5000)), "fewer than 4980 tokens"),
        (broken(lambda c: c.pop("vocab")), "fewer than"),
        (broken(lambda c: c["vocab"].reverse()), "out of order"),
        (broken(lambda c: c["vocab"][270].update({"token_bytes": "?"})), "token 270 makes no sense"),
        (broken(lambda c: c["vocab"][270].update({"token_bytes": ""})), "token 270 is out of order, empty"),
        (broken(lambda c: c["vocab"][270].pop("token_bytes")), "token 270 makes no sense"),
        (broken(lambda c: c["vocab"].__setitem__(270, 3)), "token 270 makes no sense"),
        (broken(lambda c: c["vocab"][270].update({"token_bytes": "YQ=="})), "stands in it twice"),
        (broken(lambda c: c["vocab"][65].update({"token_bytes": "YWI="})), "not the single bytes"),
        (broken(lambda c: c.update(special_tokens=3)), "special token 0"),
        (broken(lambda c: c.update(special_tokens=[{"rank": 1, "token_str": "<s>"}])), "special token 0"),
        (broken(lambda c: c.update(special_tokens=[{"rank": 0, "token_str": "<s>"}])), "no token </s>"),
    ],
)
def test_damaged_files_are_refused(tmp_path: Path, content: dict[str, Any], message: str) -> None:
    path = write(tmp_path, content)
    with pytest.raises(CheckpointError, match=message) as caught:
        load(path)
    assert str(path) in str(caught.value)
