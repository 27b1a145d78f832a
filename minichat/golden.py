"""Whether a model's tokenizer still gives the ids that it should: one text, and its ids by mistral-common.

A vocabulary is known by its ordinary tokens; versions that differ in control tokens alone are one. The ids are made as
for a prompt, by the engine that loads the file's vocabulary, so that whatever stands between a text and its ids on this
machine is tried.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

_NORMAL = 1  # tokenizer.ggml.token_type of an ordinary token

# Accents, combining marks, digits, white space, letters of several scripts, an emoji, and a control token's name.
TEXT = (
    "Hello, world! Ça coûte 1 234,50 €. नमस्ते दुनिया — [INST] is text; Xin chào 日本語 🙂\n\n"
    "\tdef f(x):\n        return x * 2 # 100000\n"
)
# fmt: off
_IDS: dict[str, tuple[int, ...]] = {  # by `vocabulary_digest`
    # Tekken: Nemo, Ministral, Mistral Small 3
    "d120fd4b847eaa283f9ba28eb6ef6567c6a4c5cfc6b2b2859b260aae7b86e21f": (
        22177, 1044, 4304, 1033, 31441, 112203, 1032, 1049, 1032, 1050, 1051, 1052, 1044, 1053, 1048, 20340,
        1046, 4148, 3525, 22475, 1803, 115801, 2251, 1766, 3174, 3074, 1093, 1395, 3403, 1059, 82960, 1528,
        19301, 30367, 15199, 119685, 1153, 1130, 1267, 48795, 1284, 4790, 3640, 1369, 1850, 2460, 1364, 1032,
        1050, 2569, 1032, 1049, 1048, 1048, 1048, 1048, 1048, 1010,
    ),
    # the demo's
    "df8777b52dd238f194c26ff5408006fc83deb7fe56633463ebcf9bebf0d39675": (
        1072, 1522, 1111, 1044, 1285, 3011, 1033, 1492, 1135, 1097, 2160, 1195, 1187, 1400, 1032, 1049, 1032,
        1050, 1051, 1052, 1044, 1053, 1048, 3221, 2598, 1046, 1433, 1168, 3525, 3053, 2047, 1164, 1803, 1433,
        1166, 3113, 2485, 2239, 1175, 1658, 2251, 1766, 3174, 3074, 1093, 1395, 3403, 1059, 2628, 1259, 1528,
        1921, 1111, 1032, 1866, 1632, 1172, 1232, 1170, 1158, 1032, 1240, 1159, 1153, 1130, 1267, 1009, 3149,
        1284, 1040, 1120, 3640, 1369, 1850, 2460, 1364, 1032, 1050, 2569, 1032, 1049, 1048, 1048, 1048, 1048,
        1048, 1010,
    ),
    # SentencePiece of 32,000: Mistral 7B v0.1 and v0.2
    "2b3bee0fbd56a1e7522e7d0fc7fc960bdf44e2150edc7e04f85cdcacb3deb1f9": (
        22557, 28725, 1526, 28808, 28705, 29215, 28708, 1001, 28951, 424, 28705, 28740, 28705, 28750, 28770,
        28781, 28725, 28782, 28734, 17416, 28723, 28705, 29540, 29672, 29671, 29300, 29708, 29586, 28705, 30046,
        30034, 29540, 29554, 29896, 29232, 1040, 733, 16289, 28793, 349, 2245, 28745, 1500, 262, 484, 28839,
        28709, 28705, 29142, 29119, 30321, 28705, 29340, 13, 13, 12, 1270, 285, 28732, 28744, 1329, 13, 5390,
        604, 1318, 398, 28705, 28750, 422, 28705, 28740, 28734, 28734, 28734, 28734, 28734, 13,
    ),
    # SentencePiece of 32,768: Mistral 7B v0.3, Mistral Small 2
    "f36a2d1af69a7003dcfef498ba5c786959c247e36b851a7d3f9505e6eda42e47": (
        23325, 29493, 2294, 29576, 29473, 29983, 29476, 1769, 29719, 1192, 29473, 29508, 29473, 29518, 29538,
        29549, 29493, 29550, 29502, 18184, 29491, 29473, 30308, 30440, 30439, 30068, 30476, 30354, 29473, 30814,
        30802, 30308, 30322, 30664, 30000, 1808, 1501, 17057, 29561, 1117, 3013, 29513, 2268, 1030, 1252, 29607,
        29477, 29473, 29910, 29887, 31089, 29473, 30108, 781, 781, 780, 2038, 1053, 29500, 29512, 2097, 781,
        6158, 1372, 2086, 1166, 29473, 29518, 1190, 29473, 29508, 29502, 29502, 29502, 29502, 29502, 781,
    ),
}
# fmt: on


def expected_ids(metadata: Mapping[str, Any]) -> list[int] | None:
    """The ids of TEXT for the vocabulary in a GGUF's metadata; None for one that is not known."""
    digest = vocabulary_digest(metadata)
    ids = _IDS.get(digest) if digest is not None else None
    return None if ids is None else list(ids)


def vocabulary_digest(metadata: Mapping[str, Any]) -> str | None:
    """The sha256 of the ordinary tokens with their ids; None if there is no vocabulary, or it makes no sense."""
    tokens, types = metadata.get("tokenizer.ggml.tokens"), metadata.get("tokenizer.ggml.token_type")
    if not isinstance(tokens, list) or not isinstance(types, list) or len(tokens) != len(types):
        return None
    digest = hashlib.sha256()
    for number, (token, kind) in enumerate(zip(tokens, types, strict=True)):
        if kind == _NORMAL:
            digest.update(f"{number} {token}\0".encode(errors="surrogatepass"))
    return digest.hexdigest()


def ids_here(path: Path) -> list[int]:
    """The ids of TEXT as a prompt for the GGUF file would have them. Raises EngineError or GgufError."""
    from minichat.engine.client import Engine
    from minichat.engine.types import LoadOptions
    from minichat.template.pieces import Text

    with Engine(path, LoadOptions(vocab_only=True)) as engine:
        return engine.tokenize([Text(TEXT)])[0]
