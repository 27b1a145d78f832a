"""The checkpoints of tests/data, in the formats that real ones come in, at f32 against transformers' logits.

    python -m tests.bench.exactness FOLDER     an empty folder, for what is made

Weights are random, so a wrong row, scale or mask shows in every logit. The ragged ones (Ministral's attention: some
layers see a window only) are also converted as if all layers saw everything, to architecture `llama`, which is what
other converters write: the same as ours up to the window, and past it off by what the last column says.
"""

import json
import shutil
import sys
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tests import checkpoints, llama_oracle
from tests.bench.measure import MINICHAT, CommandFailed, run

DATA = Path(__file__).parents[1] / "data" / "checkpoints"
# what it is called: the folder in tests/data that holds its weights and what transformers makes of them
CHECKPOINTS = {
    "mistral-hf-sharded": "mistral-hf-sharded",
    "mistral-native": "mistral-hf-sharded",
    "ministral-hf": "ministral-hf",
    "ministral-native": "ministral-hf",
    "mistral-fp8-dynamic": "mistral-fp8-dynamic",
    "mistral-w8a8-int8": "mistral-w8a8-int8",
}


def main() -> None:
    folder = Path(sys.argv[1])
    print(f"{'at f32, against transformers':30}{'difference':>12}{'of scale':>10}{'best token':>13}{'as llama':>10}")
    for name, source in CHECKPOINTS.items():
        print(f"{name:30}{result(name, DATA / source, folder)}", flush=True)


def result(name: str, source: Path, folder: Path) -> str:
    checkpoint = folder / name
    if name.endswith("-native"):
        checkpoints.write_native(source, checkpoint)
    else:
        shutil.copytree(source, checkpoint)
    try:
        return cells(checkpoint, source)
    except (CommandFailed, AssertionError) as error:  # minichat does not convert it, or llama.cpp does not load it
        return f"  {error}".replace(f"{checkpoint.parent}/", "")


def cells(checkpoint: Path, source: Path) -> str:
    """Everything behind the name in a line of the table. CommandFailed, or the oracle's AssertionError."""
    with np.load(source / "expected.npz") as known:
        ids, wanted = known["ids"], known["logits"]  # (n_tokens,), (n_tokens, vocab)
    found = logits(checkpoint, ids)
    same = int((found.argmax(1) == wanted.argmax(1)).sum())
    plain = ""
    if checkpoint.name.startswith("ministral"):
        see_everything(checkpoint)
        plain = f"{difference(logits(checkpoint, ids), wanted):.2f}"
    off, scale = difference(found, wanted), np.abs(wanted).max()
    return f"{off:12.6f}{scale:10.2f}{f'{same} of {len(ids)}':>13}{plain:>10}".rstrip()


def logits(checkpoint: Path, ids: NDArray[np.int32]) -> NDArray[np.float32]:
    """What llama.cpp computes from `minichat convert -q f32`: (n_tokens, vocab)."""
    out = checkpoint.with_suffix(".gguf")
    run([*MINICHAT, "convert", str(checkpoint), "-q", "f32", "-o", str(out)])
    return llama_oracle.logits(out, ids)


def difference(found: NDArray[np.float32], wanted: NDArray[np.float32]) -> float:
    return float(np.abs(found - wanted).max())


def see_everything(checkpoint: Path) -> None:
    """Leaves the window out of a checkpoint's configuration."""
    for file in ("config.json", "params.json"):
        path = checkpoint / file
        if path.is_file():
            settings: dict[str, Any] = json.loads(path.read_text())
            for key in ("sliding_window", "_sliding_window", "layer_types"):
                settings.pop(key, None)
            if "model_type" in settings:
                settings.update(model_type="mistral", architectures=["MistralForCausalLM"], sliding_window=None)
            path.write_text(json.dumps(settings))


if __name__ == "__main__":
    main()
