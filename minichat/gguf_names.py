"""Which GGUF file of a repo is meant: people name a quantization, publishers put it into the file's name.

    Mistral-Small-24B-Instruct-2501-Q4_K_M.gguf      model.q4_k_m.gguf      Devstral-Small-F16.gguf

Pure; names only.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from quant.errors import DataError, UsageError
from quant.types import parse_target

# A quantization at the end of a file's name: llama.cpp's types, with what some publishers put before or after them.
_QUANT = re.compile(
    r"(?:^|[-_.])((?:UD-)?(?:IQ[1-8]_[A-Z0-9_]+|Q[1-8]_[A-Z0-9_]+|TQ[12]_0|MXFP4|BF16|F(?:P)?16|F(?:P)?32))$",
    re.IGNORECASE,
)
_PART = re.compile(r"-\d{5}-of-\d{5}$")
_PROJECTOR = re.compile(r"(?:^|[-_.])mmproj(?:[-_.]|$)", re.IGNORECASE)
_DEFAULT = "q4_K_M"
_SHOWN = 12


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


def _stem(name: str) -> str:
    return name.rsplit("/", 1)[-1].rsplit(".", 1)[0]
