import random
import shutil
import string
from pathlib import Path

import llama_oracle
import mistral_common
import pytest
from checkpoints import config
from sentencepiece import SentencePieceProcessor

from convert.config import parse_config
from convert.gguf_writer import Writer, lay_out
from convert.metadata import build_metadata
from convert.sentencepiece_model import load
from convert.vocab import TokenType
from quant.errors import CheckpointError
from quant.types import parse_target

DATA = Path(mistral_common.__file__).parent / "data"
V3 = DATA / "mistral_instruct_tokenizer_240323.model.v3"
FILES = [p.name for p in sorted(DATA.glob("*.model*"))]


@pytest.mark.parametrize("name", FILES)
def test_pieces_are_sentencepieces(name: str) -> None:
    theirs, ours = SentencePieceProcessor(str(DATA / name)), load(DATA / name)
    n = theirs.get_piece_size()
    assert ours.tokens == [theirs.id_to_piece(i) for i in range(n)]
    assert ours.scores == pytest.approx([theirs.get_score(i) for i in range(n)])
    for i, kind in enumerate(ours.types):
        assert (kind == TokenType.CONTROL) == theirs.is_control(i)
        assert (kind == TokenType.BYTE) == theirs.is_byte(i)
        assert (kind == TokenType.UNKNOWN) == theirs.is_unknown(i)
    assert (ours.unknown, ours.bos, ours.eos) == (theirs.unk_id(), theirs.bos_id(), theirs.eos_id())
    assert ours.pad is None
    assert ours.space_prefix


def test_llama_cpp_tokenizes_as_sentencepiece(tmp_path: Path) -> None:
    path = tmp_path / "vocabulary.gguf"
    settings = parse_config(config(vocab=32768))
    layout = lay_out(build_metadata(settings, load(V3), parse_target("f32"), "test", None, {}), [])
    with path.open("wb") as file:
        Writer(file, layout)
    theirs, rng = SentencePieceProcessor(str(V3)), random.Random(2)
    letters = string.printable[:95] + "äöüßéèñçåøĀжщдяβγδ中文字日本語한국어हिन्दीதமிழ்العربيةไทย😀🎉\u200d\u0301\n\t"
    words = ["the", " Hello", "tokenization", "  ", "naïve", "été", "Straße", "नमस्ते"]
    with llama_oracle.vocabulary(path) as vocab:
        for _ in range(2000):
            text = "".join(rng.choice([*words, *rng.choices(letters, k=8)]) for _ in range(rng.randint(1, 30)))
            assert llama_oracle.tokenize(vocab, text) == theirs.encode(text), text
        for token in [*range(40), *range(771, 1400), *rng.sample(range(1400, 32768), 500)]:
            expected = theirs.id_to_piece(token).replace("▁", " ").encode()
            if theirs.is_byte(token):
                expected = bytes([int(theirs.id_to_piece(token)[3:5], 16)])
            assert llama_oracle.piece(vocab, token) == expected


@pytest.mark.parametrize(
    ("name", "version"),
    [
        ("tokenizer.model.v1", "v1"),
        ("mistral_instruct_tokenizer_240216.model.v2", "v2"),
        ("mistral_instruct_tokenizer_240323.model.v3", "v3"),
        ("mistral_instruct_tokenizer_241114.model.v7", "v7"),
        ("mistral_instruct_tokenizer_241114.model.v7m1", "v7"),
    ],
)
def test_the_version_from_the_name_and_from_the_pieces(tmp_path: Path, name: str, version: str) -> None:
    plain = tmp_path / "tokenizer.model"
    shutil.copy(DATA / name, plain)
    assert load(DATA / name).template == version
    assert load(plain).template == version


def test_a_version_of_the_future_is_recorded_as_it_is_named(tmp_path: Path) -> None:
    path = tmp_path / "tokenizer.model.v15"
    shutil.copy(V3, path)
    assert load(path).template == "v15"


def test_other_kinds_of_models_are_refused(tmp_path: Path) -> None:
    trainer = b"\x12\x02\x18\x01"  # field 2, of two bytes: field 3 is 1, unigram
    piece = b"\x0a\x05\x0a\x03abc"
    path = tmp_path / "tokenizer.model"
    path.write_bytes(piece + trainer)
    with pytest.raises(CheckpointError, match="another kind than byte pairs"):
        load(path)
    path.write_bytes(piece + b"\x12\x02\x18\x02")
    with pytest.raises(CheckpointError, match="removes spaces"):
        load(path)


def test_damaged_files_are_refused(tmp_path: Path) -> None:
    content, path, rng = V3.read_bytes(), tmp_path / "tokenizer.model", random.Random(0)
    for bad in (b"", b"{}", content[:-7], content[1:], b"\xff" * 99, b"\x0a\x03\x0a\x05abc", b"\x0b"):
        path.write_bytes(bad)
        with pytest.raises(CheckpointError, match="is no SentencePiece model, or is damaged"):
            load(path)
    path.write_bytes(content.replace(b"\x15\x00\x00\x00\x00", b"\x15\x00\x00\xc0\x7f", 1))  # a score that is no number
    with pytest.raises(CheckpointError, match="is damaged"):
        load(path)
    for _ in range(40):
        mutant = bytearray(content[:4000])
        mutant[rng.randrange(4000)] = rng.randrange(256)
        path.write_bytes(mutant)
        with pytest.raises(CheckpointError):  # it is cut short, whatever else
            load(path)
