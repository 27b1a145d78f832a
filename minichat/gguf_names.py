"""Which GGUF file of a repo is meant: people name a quantization, publishers put it into the file's name.

    Mistral-Small-24B-Instruct-2501-Q4_K_M.gguf      model.q4_k_m.gguf      Devstral-Small-F16.gguf

Pure; names, and what a header names itself.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

from quant.errors import DataError, UsageError
from quant.types import parse_target, target_by_file_type

# A quantization at the end of a file's name: llama.cpp's types, with what some publishers put before or after them.
_QUANT = re.compile(
    r"(?:^|[-_.])((?:UD-)?(?:IQ[1-8]_[A-Z0-9_]+|Q[1-8]_[A-Z0-9_]+|TQ[12]_0|MXFP4|BF16|F(?:P)?16|F(?:P)?32))$",
    re.IGNORECASE,
)
_PART = re.compile(r"-\d{5}-of-\d{5}$")
_PROJECTOR = re.compile(r"(?:^|[-_.])mmproj(?:[-_.]|$)", re.IGNORECASE)
_PROJECTOR_QUANTS = ("fp16", "bf16", "q8_0", "f32")  # of a projector's files: the first that there is
_DEFAULT = "q4_K_M"
_SHOWN = 12


def told_target(metadata: Mapping[str, Any]) -> str | None:
    """The quantization that a header names, if minichat knows it.

    >>> told_target({"general.file_type": 15}), told_target({"general.file_type": "15"})
    ('q4_K_M', None)
    """
    number = metadata.get("general.file_type")
    target = target_by_file_type(number) if type(number) is int else None
    return target.name if target is not None else None


def is_projector(name: str) -> bool:
    """Whether a file of this name turns images into what a text model reads: a part of one."""
    return _PROJECTOR.search(_stem(name)) is not None


def is_part(name: str) -> bool:
    """Whether a file of this name is one of several that a model was cut into.

    >>> is_part("x-Q8_0-00001-of-00003.gguf"), is_part("x-Q8_0.gguf")
    (True, False)
    """
    return _PART.search(_stem(name)) is not None


def is_gguf(name: str) -> bool:
    """Whether a file of this name holds a text model, or a part of one."""
    return name.lower().endswith(".gguf") and not is_projector(name)


def quant_of(name: str) -> str | None:
    """The quantization that a file's name ends with, as minichat spells it if it knows it.

    >>> quant_of("sub/Nemo-12B-Q4_K_M.gguf"), quant_of("nemo.F16.gguf"), quant_of("x-IQ4_XS.gguf"), quant_of("x.gguf")
    ('q4_K_M', 'fp16', 'IQ4_XS', None)
    """
    match = _QUANT.search(_PART.sub("", _stem(name)))
    return spelled(match[1]) if match else None


def spelled(quant: str) -> str:
    """A quantization's name as minichat writes it; one that it cannot make, in capitals.

    >>> spelled("Q4_K_M"), spelled("f16"), spelled("iq4_xs")
    ('q4_K_M', 'fp16', 'IQ4_XS')
    """
    try:
        return parse_target(quant).name
    except UsageError:
        return quant.upper()


def choose_gguf(repo: str, names: Iterable[str], quant: str | None) -> str | None:
    """The file that holds `quant` (None: q4_K_M, or the only one that there is); None if the repo has no GGUF at all.

    DataError if it has others only, or several that fit, or one that is cut into parts.

    >>> choose_gguf("a/b", ["x-Q8_0.gguf", "x-Q4_K_M.gguf", "mmproj-x-F16.gguf", "README.md"], None)
    'x-Q4_K_M.gguf'
    """
    files = sorted(name for name in names if is_gguf(name))
    if not files:
        return None
    fitting = _fitting(files, quant)
    if not fitting:
        there = list(dict.fromkeys(quant_of(name) or name for name in files))
        more = ", …" if len(there) > _SHOWN else ""
        raise DataError(f"{repo} has no GGUF file at {quant or _DEFAULT}; it has {', '.join(there[:_SHOWN])}{more}")
    whole = [name for name in fitting if not is_part(name)]
    if not whole:
        at = quant_of(fitting[0]) or "model"
        raise DataError(f"{repo} has its {at} cut into parts, which minichat cannot join: choose another quantization")
    return _only(repo, whole)


def choose_projector(model: str, names: Iterable[str], quant: str | None = None) -> str | None:
    """What the file `model` reads pictures with, among the files beside it: at `quant`, else float16 first.

    Those in the model's own folder go before others, and one that is called as the model before one that could be any
    model's. None if there is none, or if several models' are there and nothing tells which is this one's.

    >>> choose_projector("Small-Q4_K_M.gguf", ["mmproj-F32.gguf", "mmproj-F16.gguf", "x-Q8_0.gguf"])
    'mmproj-F16.gguf'
    >>> choose_projector("Small-Q4_K_M.gguf", ["mmproj-Small-Q8_0.gguf", "mmproj-Nemo-F16.gguf"])
    'mmproj-Small-Q8_0.gguf'
    >>> choose_projector("Large.gguf", ["mmproj-Small.gguf", "mmproj-Nemo.gguf"]) is None
    True
    """
    files = sorted(name for name in names if name.lower().endswith(".gguf") and is_projector(name) and name != model)
    files = [name for name in files if _folder(name) == _folder(model)] or files
    exact = f"mmproj-{model.rsplit('/', 1)[-1]}".lower()
    by_model: dict[str, list[str]] = {}
    for name in files:
        by_model.setdefault(_model_of(name), []).append(name)
    own = by_model.get(_model_of(model)) or (next(iter(by_model.values())) if len(by_model) == 1 else [])
    if quant is not None:
        own = [name for name in own if (quant_of(name) or "").lower() == spelled(quant).lower()]
    return min(own, key=lambda name: (name.rsplit("/", 1)[-1].lower() != exact, _rank(name), name), default=None)


def has_quant(names: Iterable[str], quant: str | None) -> bool:
    """Whether one of a repo's GGUF files is what `choose_gguf` looks for, if only in parts."""
    return bool(_fitting([name for name in names if is_gguf(name)], quant))


def by_quant(repo: str, names: Iterable[str]) -> dict[str, str]:
    """The GGUF files that are models, not parts of one, by their quantization; by their name where it tells none.

    DataError if there are several at one, or none at all.

    >>> by_quant("a/b", ["x-Q8_0.gguf", "x-Q4_K_M.gguf", "x-F16-00001-of-00002.gguf", "x.gguf", "README.md"])
    {'q4_K_M': 'x-Q4_K_M.gguf', 'q8_0': 'x-Q8_0.gguf', 'x.gguf': 'x.gguf'}
    """
    files: dict[str, list[str]] = {}
    for name in sorted(names):
        if is_gguf(name) and not is_part(name):
            files.setdefault(quant_of(name) or name, []).append(name)
    if not files:
        raise DataError(f"{repo} has GGUF files in parts only, which minichat cannot join: choose another repo")
    return {quant: _only(repo, same) for quant, same in files.items()}


def _fitting(files: list[str], quant: str | None) -> list[str]:
    wanted = spelled(quant or _DEFAULT).lower()
    fitting = [name for name in files if (quant_of(name) or "").lower() == wanted]
    return files if not fitting and quant is None and len(files) == 1 else fitting


def _only(repo: str, files: list[str]) -> str:
    if len(files) > 1:
        shown = ", ".join(files[:_SHOWN]) + (", …" if len(files) > _SHOWN else "")
        at = quant_of(files[0]) or "one quantization"
        raise DataError(f"{repo} has several files at {at}: {shown}; name one by its link on the hub")
    return files[0]


def _folder(name: str) -> str:
    return name.rpartition("/")[0]


def _model_of(name: str) -> str:
    """What a file's name says of the model, without its quantization and what tells a projector.

    >>> _model_of("x/Small-3.1-Q4_K_M.gguf"), _model_of("mmproj-small-3.1-f16.gguf"), _model_of("mmproj-F16.gguf")
    ('small-3.1', 'small-3.1', '')
    """
    stem = _QUANT.sub("", _PART.sub("", _stem(name)))
    return "-".join(word for word in re.split("[-_ ]+", stem.lower()) if word not in ("", "mmproj"))


def _rank(name: str) -> int:
    """How early a projector's quantization is wanted; one that its name does not tell is float16 as a rule."""
    quant = quant_of(name) or _PROJECTOR_QUANTS[0]
    return _PROJECTOR_QUANTS.index(quant) if quant in _PROJECTOR_QUANTS else len(_PROJECTOR_QUANTS)


def _stem(name: str) -> str:
    return name.rsplit("/", 1)[-1].rsplit(".", 1)[0]
