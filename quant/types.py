"""What blocks of weights are called and how large they are, and what a person may ask for.

A *type* is how one tensor is stored (`q4_K`: 256 weights in 144 bytes). A *target* is what a whole file is made to
(`q4_K_M`: mostly q4_K, some tensors larger; `quant.recipe` says which). Numbers are those of the GGUF format: a type's
`ggml_id` stands in each tensor's header, a target's `file_type` in `general.file_type`.

Standard library only: the front process reads file headers with this table.
"""

from dataclasses import dataclass

from quant.errors import QuantError, UsageError


@dataclass(frozen=True)
class QuantType:
    """How a tensor's weights are stored: rows cut into blocks of `block_weights` weights, `block_bytes` bytes each.

    `scale_offsets`: where in a block its float16 scales stand, in bytes; a scale that is not finite spoils its block.
    """

    name: str
    ggml_id: int
    block_weights: int
    block_bytes: int
    scale_offsets: tuple[int, ...] = ()

    def nbytes(self, n_weights: int) -> int:
        """The size in bytes of `n_weights` weights, whole blocks of them.

        >>> by_name("q4_K").nbytes(512)
        288
        """
        blocks, rest = divmod(n_weights, self.block_weights)
        if rest:
            raise QuantError(f"{n_weights} weights do not fill blocks of {self.block_weights} ({self.name})")
        return blocks * self.block_bytes


@dataclass(frozen=True)
class Target:
    """What a file is converted to. `base` is the type of every matrix that the recipe has no better idea for."""

    name: str
    file_type: int
    base: QuantType


# Types that minichat only reads the headers of (a GGUF made elsewhere may hold them) have no scale_offsets.
_TYPES = (
    QuantType("f32", 0, 1, 4),
    QuantType("f16", 1, 1, 2, (0,)),
    QuantType("q4_0", 2, 32, 18, (0,)),
    QuantType("q4_1", 3, 32, 20, (0, 2)),
    QuantType("q5_0", 6, 32, 22, (0,)),
    QuantType("q5_1", 7, 32, 24, (0, 2)),
    QuantType("q8_0", 8, 32, 34, (0,)),
    QuantType("q8_1", 9, 32, 40),
    QuantType("q2_K", 10, 256, 84),
    QuantType("q3_K", 11, 256, 110),
    QuantType("q4_K", 12, 256, 144, (0, 2)),
    QuantType("q5_K", 13, 256, 176, (0, 2)),
    QuantType("q6_K", 14, 256, 210, (208,)),
    QuantType("q8_K", 15, 256, 292),
    QuantType("iq2_xxs", 16, 256, 66),
    QuantType("iq2_xs", 17, 256, 74),
    QuantType("iq3_xxs", 18, 256, 98),
    QuantType("iq1_s", 19, 256, 50),
    QuantType("iq4_nl", 20, 32, 18),
    QuantType("iq3_s", 21, 256, 110),
    QuantType("iq2_s", 22, 256, 82),
    QuantType("iq4_xs", 23, 256, 136),
    QuantType("i8", 24, 1, 1),
    QuantType("i16", 25, 1, 2),
    QuantType("i32", 26, 1, 4),
    QuantType("i64", 27, 1, 8),
    QuantType("f64", 28, 1, 8),
    QuantType("iq1_m", 29, 256, 56),
    QuantType("bf16", 30, 1, 2),
    QuantType("tq1_0", 34, 256, 54),
    QuantType("tq2_0", 35, 256, 66),
    QuantType("mxfp4", 39, 32, 17),
    QuantType("nvfp4", 40, 64, 36),
    QuantType("q1_0", 41, 128, 18),
)
_BY_ID = {t.ggml_id: t for t in _TYPES}
_BY_NAME = {t.name: t for t in _TYPES}

_TARGETS = tuple(
    Target(name, file_type, _BY_NAME[base])
    for name, file_type, base in (
        ("f32", 0, "f32"),
        ("bf16", 32, "bf16"),
        ("fp16", 1, "f16"),
        ("q8_0", 7, "q8_0"),
        ("q6_K", 18, "q6_K"),
        ("q5_K_M", 17, "q5_K"),
        ("q5_K_S", 16, "q5_K"),
        ("q4_K_M", 15, "q4_K"),
        ("q4_K_S", 14, "q4_K"),
        ("q5_0", 8, "q5_0"),
        ("q4_0", 2, "q4_0"),
    )
)
_TARGET_BY_NAME = {t.name.lower(): t for t in _TARGETS} | {"f16": _TARGETS[2], "fp32": _TARGETS[0]}
TARGET_NAMES = tuple(t.name for t in _TARGETS)
PROJECTOR_NAMES = ("fp16", "q8_0", "f32")  # what a model's part that sees can be made to


def by_id(ggml_id: int) -> QuantType:
    """The type with this number in a GGUF's tensor headers. QuantError if there is none."""
    try:
        return _BY_ID[ggml_id]
    except KeyError:
        raise QuantError(f"unknown tensor type {ggml_id}") from None


def by_name(name: str) -> QuantType:
    """The type of this name ("q4_K", "f16"; case matters). QuantError if there is none."""
    try:
        return _BY_NAME[name]
    except KeyError:
        raise QuantError(f"unknown tensor type {name!r}") from None


def parse_target(text: str) -> Target:
    """What a person means by "q4_K_M", "Q8_0", "fp16" or "f16", in any case. UsageError names the known ones.

    >>> parse_target("q4_k_m").file_type
    15
    """
    try:
        return _TARGET_BY_NAME[text.strip().lower()]
    except KeyError:
        known = ", ".join(TARGET_NAMES)
        raise UsageError(f"unknown quantization {text!r}: choose one of {known}") from None


def parse_projector_target(text: str) -> Target:
    """The same for the file of what sees, for which there are fewer: those that llama.cpp computes with.

    >>> parse_projector_target("F16").name
    'fp16'
    """
    target = _TARGET_BY_NAME.get(text.strip().lower())
    if target is None or target.name not in PROJECTOR_NAMES:
        raise UsageError(f"unknown type of a projector {text!r}: choose one of {', '.join(PROJECTOR_NAMES)}")
    return target


def target_by_file_type(file_type: int) -> Target | None:
    """The target whose number stands in `general.file_type`, or None if it is one that minichat cannot make."""
    return next((t for t in _TARGETS if t.file_type == file_type), None)
