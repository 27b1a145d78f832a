"""What a checkpoint's makers recommend for sampling: generation_config.json -> `general.sampling.*`.

`do_sample: false` is temperature 0. What is absent, of another type or out of range is left to whoever runs the model.
"""

from pathlib import Path
from typing import Any

from convert.fields import read_json
from convert.gguf_writer import Value, f32, i32

_KEYS = {"temperature": ("temp", 100), "top_p": ("top_p", 1), "min_p": ("min_p", 1)}
_MAX_TOP_K = 1 << 20


def recommended(folder: Path) -> dict[str, Value]:
    """The keys for the checkpoint in `folder`. CheckpointError for a generation_config.json that cannot be read."""
    path = folder / "generation_config.json"
    return keys(read_json(path)) if path.is_file() else {}


def keys(generation: dict[str, Any]) -> dict[str, Value]:
    """
    >>> {key: value.value for key, value in keys({"temperature": 0.15, "top_k": 40, "top_p": "all"}).items()}
    {'general.sampling.temp': 0.15, 'general.sampling.top_k': 40}
    """
    found = {}
    if generation.get("do_sample") is False:
        return {"general.sampling.temp": f32(0.0)}
    for name, (key, most) in _KEYS.items():
        value = generation.get(name)
        if isinstance(value, (int, float)) and not isinstance(value, bool) and 0 <= value <= most:
            found[f"general.sampling.{key}"] = f32(float(value))
    top_k = generation.get("top_k")
    if type(top_k) is int and 0 <= top_k <= _MAX_TOP_K:
        found["general.sampling.top_k"] = i32(top_k)
    return found
