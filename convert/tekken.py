"""tekken.json, Mistral's byte-pair vocabulary, as a GGUF vocabulary.

Special tokens have the first ids (1,000 of them), then come the ranks: id = rank + number of special tokens. Ranks 0
to 255 are the single bytes; each later one is two earlier ones joined. The list in the file is longer than the
vocabulary: only the first `default_vocab_size` ids count.

Files up to version v7 need not list their special tokens: those have the names that mistral-common gives them
(`tokens/tokenizers/tekken.py`), and all that are not listed are called <SPECIAL_n>.
"""

import base64
import binascii
from pathlib import Path
from typing import Any

from convert.fields import read_json
from convert.vocab import TokenType, Vocabulary
from quant.errors import CheckpointError

_UNLISTED = (
    "<unk>", "<s>", "</s>", "[INST]", "[/INST]", "[AVAILABLE_TOOLS]", "[/AVAILABLE_TOOLS]", "[TOOL_RESULTS]",
    "[/TOOL_RESULTS]", "[TOOL_CALLS]", "[IMG]", "<pad>", "[IMG_BREAK]", "[IMG_END]", "[PREFIX]", "[MIDDLE]", "[SUFFIX]",
    "[SYSTEM_PROMPT]", "[/SYSTEM_PROMPT]", "[TOOL_CONTENT]",
)  # fmt: skip
_VERSIONS_WITHOUT_LIST = ("v1", "v2", "v3", "v7")
_TEMPLATES = {"v3": "v3-tekken", "v7": "v7-tekken"}
_MAX_BYTES = 64 << 20  # Mistral's own have 15 to 20 MB
_MAX_TOKENS = 1 << 21
_MAX_TOKEN_BYTES = 1024


def load(path: Path) -> Vocabulary:
    """The vocabulary of a tekken.json. CheckpointError, naming the file, if it is not sound."""
    content = read_json(path, _MAX_BYTES)
    config = content.get("config")
    if not isinstance(config, dict):
        raise CheckpointError(f"{path} is damaged: it has no config")
    n_special = _count(path, config, "default_num_special_tokens")
    n_ranks = _count(path, config, "default_vocab_size") - n_special
    version = config.get("version")
    if not isinstance(version, str) or not version:
        raise CheckpointError(f"{path} is damaged: its config has no version")
    special = _special(path, content.get("special_tokens"), n_special, version)
    if n_ranks < 256:
        raise CheckpointError(f"{path} is damaged: it has fewer tokens than there are bytes")
    ranks = _ranks(path, content.get("vocab"), n_ranks)
    letters = byte_letters()
    return Vocabulary(
        model="gpt2",
        pre="tekken",
        tokens=special + [data.decode("latin-1").translate(letters) for data in ranks],
        types=[int(TokenType.CONTROL)] * n_special + [int(TokenType.NORMAL)] * n_ranks,
        merges=_merges(ranks, letters),
        bos=_place(path, special, "<s>"),
        eos=_place(path, special, "</s>"),
        unknown=_place(path, special, "<unk>"),
        pad=special.index("<pad>") if "<pad>" in special else None,
        template=_TEMPLATES.get(version, version),
    )


def byte_letters() -> dict[int, str]:
    """GPT-2's letter for each byte, in the form of `str.translate`: printable ones stand for themselves.

    >>> "a b".translate(byte_letters())
    'aĠb'
    """
    printable = {*range(33, 127), *range(161, 173), *range(174, 256)}
    others = [byte for byte in range(256) if byte not in printable]
    return {byte: chr(byte) for byte in printable} | {byte: chr(256 + n) for n, byte in enumerate(others)}


def _merges(ranks: list[bytes], letters: dict[int, str]) -> list[str]:
    """Every pair of tokens whose join is a token, in order of the join's rank.

    Tiktoken joins whichever neighbours make the lowest rank, so all ways to split a token are pairs, not only the
    one by which it came to be.
    """
    shown = {data: data.decode("latin-1").translate(letters) for data in ranks}
    merges = []
    for data in ranks:
        for cut in range(1, len(data)):
            left = shown.get(data[:cut])
            if left is not None and (right := shown.get(data[cut:])) is not None:
                merges.append(f"{left} {right}")
    return merges


def _ranks(path: Path, entries: Any, n_ranks: int) -> list[bytes]:
    if not isinstance(entries, list) or len(entries) < n_ranks:
        raise CheckpointError(f"{path} is damaged: it has fewer than {n_ranks} tokens")
    ranks = []
    try:
        for rank, entry in enumerate(entries[:n_ranks]):
            data = base64.b64decode(entry["token_bytes"], validate=True)
            if entry["rank"] != rank or not 0 < len(data) <= _MAX_TOKEN_BYTES:
                raise CheckpointError(f"{path} is damaged: token {rank} is out of order, empty or too long")
            ranks.append(data)
    except (TypeError, KeyError, ValueError, binascii.Error) as error:
        raise CheckpointError(f"{path} is damaged: token {len(ranks)} makes no sense") from error
    if ranks[:256] != [bytes([byte]) for byte in range(256)]:
        raise CheckpointError(f"{path} is damaged: its first 256 tokens are not the single bytes")
    if len(set(ranks)) != n_ranks:
        raise CheckpointError(f"{path} is damaged: a token stands in it twice")
    return ranks


def _special(path: Path, entries: Any, n_special: int, version: str) -> list[str]:
    if entries is None:
        if version not in _VERSIONS_WITHOUT_LIST:
            raise CheckpointError(f"{path} is damaged: version {version[:20]!r} must list its special tokens")
        names = list(_UNLISTED)
    else:
        names = []
        for entry in entries if isinstance(entries, list) else [None]:
            fields = entry if isinstance(entry, dict) else {}
            name = fields.get("token_str")
            if not isinstance(name, str) or not name or fields.get("rank") != len(names):
                raise CheckpointError(f"{path} is damaged: special token {len(names)} makes no sense")
            names.append(name)
    if len(names) > n_special:
        raise CheckpointError(f"{path} is damaged: it lists {len(names)} special tokens of {n_special}")
    return names + [f"<SPECIAL_{i}>" for i in range(len(names), n_special)]


def _count(path: Path, config: dict[str, Any], key: str) -> int:
    value = config.get(key)
    if not isinstance(value, int) or isinstance(value, bool) or not 0 < value <= _MAX_TOKENS:
        raise CheckpointError(f"{path} is damaged: its {key} makes no sense")
    return value


def _place(path: Path, special: list[str], name: str) -> int:
    if name not in special:
        raise CheckpointError(f"{path} is damaged: it has no token {name}")
    return special.index(name)
