from pathlib import Path

import mistral_common
import pytest
from checkpoints import config, write_checkpoint, write_native

from convert.checkpoint import open_checkpoint
from convert.pipeline import sizes
from convert.plan import make_plan
from convert.provenance import find_provenance
from quant.types import TARGET_NAMES, parse_target

TOKENIZERS = Path(mistral_common.__file__).parent / "data"


@pytest.mark.parametrize("tied", [False, True])
@pytest.mark.parametrize(
    ("tokenizer", "vocab"), [("tekken_240911.json", 131072), ("mistral_instruct_tokenizer_240323.model.v3", 32768)]
)
def test_sizes_are_those_of_the_plan(tmp_path: Path, tokenizer: str, vocab: int, tied: bool) -> None:
    """The same to the byte but for what the header was taken for, which is within one part in ten."""
    settings = config(layers=3, hidden=32, inner=96, heads=2, kv_heads=1, vocab=vocab, tied=tied)
    checkpoint = open_checkpoint(write_checkpoint(tmp_path / "model", settings, tokenizer=TOKENIZERS / tokenizer))
    origin, off = find_provenance(tmp_path / "model"), set()
    targets = ["q4_K_M", "f32"] if vocab > 65536 else list(TARGET_NAMES)
    for target, size in sizes(checkpoint, targets).items():
        layout = make_plan(checkpoint, parse_target(target), "m", "auto", origin, {}, "standard").text.layout
        off.add(size - layout.file_bytes)
        assert abs(size - layout.file_bytes) < 0.1 * len(layout.header)
    assert max(off) - min(off) < 64  # the names of targets in the header, and its padding


def test_both_formats_tell_the_same(tmp_path: Path) -> None:
    hub = write_checkpoint(tmp_path / "hub", config())
    native = write_native(hub, tmp_path / "native")
    assert sizes(open_checkpoint(hub), ["q4_K_M"]) == sizes(open_checkpoint(native), ["q4_K_M"])
