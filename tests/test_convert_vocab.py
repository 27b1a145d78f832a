import json
from pathlib import Path

import mistral_common
import pytest
from checkpoints import tekken

from convert.vocab import TokenType, load_vocabulary
from quant.errors import CheckpointError

DATA = Path(mistral_common.__file__).parent / "data"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "tekken.json"
    path.write_text(json.dumps(tekken(280)))
    return path


def test_unused_rows_are_filled_up(path: Path) -> None:
    exact, larger = load_vocabulary(path, 300), load_vocabulary(path, 303)
    assert len(exact.tokens) == 300
    assert larger.tokens == [*exact.tokens, "[PAD300]", "[PAD301]", "[PAD302]"]
    assert larger.types == exact.types + [TokenType.UNUSED] * 3
    assert larger.scores is None
    pieces = load_vocabulary(DATA / "tokenizer.model.v1", 32001)
    assert pieces.scores is not None
    assert len(pieces.tokens) == len(pieces.types) == len(pieces.scores) == 32001


def test_more_tokens_than_rows_are_refused(path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"has 300 tokens, and the model .* 299"):
        load_vocabulary(path, 299)


def test_two_tokens_of_one_name_are_refused(path: Path) -> None:
    """A special token may not look like an ordinary one: llama.cpp aborts on such a file."""
    content = tekken(280)
    names = ["<unk>", "<s>", "</s>", "et"]
    content["special_tokens"] = [{"rank": n, "token_str": s, "is_control": True} for n, s in enumerate(names)]
    path.write_text(json.dumps(content))
    with pytest.raises(CheckpointError, match="the token 'et' stands in it twice"):
        load_vocabulary(path, 300)
