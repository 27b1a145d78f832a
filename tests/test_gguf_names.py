"""Which file of a repo is meant."""

from __future__ import annotations

import doctest

import pytest

import minichat.gguf_names as names_module
from minichat.gguf_names import by_quant, choose_gguf, is_gguf, is_part, is_projector, quant_of, spelled
from quant.errors import DataError

REPO = "someone/Small-GGUF"
FILES = [
    ".gitattributes",
    "README.md",
    "Small-24B-Q4_K_M.gguf",
    "Small-24B-Q8_0.gguf",
    "Small-24B-IQ3_XS.gguf",
    "Small-24B-BF16/Small-24B-BF16-00001-of-00002.gguf",
    "Small-24B-BF16/Small-24B-BF16-00002-of-00002.gguf",
    "mmproj-Small-24B-F16.gguf",
    "Small-24B-Q4_K_M.gguf.json",
]


@pytest.mark.parametrize(
    ("name", "quant"),
    [
        ("Mistral-Nemo-Instruct-2407-Q4_K_M.gguf", "q4_K_M"),
        ("mistral-7b-instruct-v0.3.Q5_K_S.gguf", "q5_K_S"),
        ("mistral-7b.q6_k.GGUF", "q6_K"),
        ("Devstral-Small-2505-F16.gguf", "fp16"),
        ("x-fp16.gguf", "fp16"),
        ("x-f32.gguf", "f32"),
        ("x-BF16.gguf", "bf16"),
        ("x_q8_0.gguf", "q8_0"),
        ("Q8_0.gguf", "q8_0"),
        ("Q8_0/model-Q8_0-00002-of-00003.gguf", "q8_0"),
        ("x-UD-Q4_K_XL.gguf", "UD-Q4_K_XL"),
        ("x-iq2_xxs.gguf", "IQ2_XXS"),
        ("x-Q3_K_L.gguf", "Q3_K_L"),
        ("x-Q4_0_4_4.gguf", "Q4_0_4_4"),
        ("x-MXFP4.gguf", "MXFP4"),
        ("x-TQ1_0.gguf", "TQ1_0"),
        ("Q8_0/model.gguf", None),  # a folder's name says nothing of a file that somebody renamed
        ("model.gguf", None),
        ("x-Q4_K_M-fixed.gguf", None),
        ("xQ8_0.gguf", None),
        ("x-Q9_0.gguf", None),
        (".gguf", None),
        ("", None),
        ("x-Q" + "4_" * 5000 + "K.gguf", "Q" + "4_" * 5000 + "K"),
    ],
)
def test_quantizations_in_names(name: str, quant: str | None) -> None:
    assert quant_of(name) == quant


def test_a_name_of_any_case_is_spelled_one_way() -> None:
    assert {spelled(text) for text in ("Q4_K_M", "q4_k_m", "q4_K_M")} == {"q4_K_M"}
    assert {spelled(text) for text in ("fp16", "F16", "f16")} == {"fp16"}
    assert spelled("ud-q4_k_xl") == "UD-Q4_K_XL"


@pytest.mark.parametrize("name", ["mmproj-model-f16.gguf", "x/Small-mmproj-F16.gguf", "model.mmproj-q8_0.GGUF"])
def test_projectors_are_no_models(name: str) -> None:
    assert is_projector(name) and not is_gguf(name)


def test_what_is_a_gguf_and_what_a_part() -> None:
    assert [name for name in FILES if is_gguf(name)] == FILES[2:7]
    assert [name for name in FILES if is_part(name)] == FILES[5:7]
    assert is_gguf("x/mmprojection.gguf") and not is_part("x-00001-of-2.gguf")


@pytest.mark.parametrize(
    ("quant", "file"),
    [(None, FILES[2]), ("q4_k_m", FILES[2]), ("Q8_0", FILES[3]), ("iq3_xs", FILES[4])],
)
def test_a_file_is_chosen_by_its_quantization(quant: str | None, file: str) -> None:
    assert choose_gguf(REPO, FILES, quant) == file
    assert choose_gguf(REPO, reversed(FILES), quant) == file


def test_a_repo_without_gguf_files() -> None:
    assert choose_gguf(REPO, ["config.json", "model.safetensors", "mmproj-x-F16.gguf"], None) is None
    assert choose_gguf(REPO, [], "q8_0") is None


def test_the_only_file_needs_no_name() -> None:
    assert choose_gguf(REPO, ["x-Q8_0.gguf", "mmproj-x-F16.gguf"], None) == "x-Q8_0.gguf"
    assert choose_gguf(REPO, ["whatever.gguf"], None) == "whatever.gguf"
    with pytest.raises(DataError, match=r"no GGUF file at q8_0; it has whatever\.gguf"):
        choose_gguf(REPO, ["whatever.gguf"], "q8_0")


def test_what_cannot_be_chosen_is_told_in_a_line() -> None:
    cases = {
        "q5_K_M": "someone/Small-GGUF has no GGUF file at q5_K_M; it has bf16, IQ3_XS, q4_K_M, q8_0",
        "bf16": "someone/Small-GGUF has its bf16 cut into parts, which minichat cannot join: choose another "
        "quantization",
    }
    for quant, told in cases.items():
        with pytest.raises(DataError) as caught:
            choose_gguf(REPO, FILES, quant)
        assert str(caught.value) == told


def test_several_files_at_one_quantization() -> None:
    files = ["old/x-Q8_0.gguf", "x-Q8_0.gguf", "x-Q4_K_M.gguf"]
    assert choose_gguf(REPO, files, None) == "x-Q4_K_M.gguf"
    for choose in (lambda: choose_gguf(REPO, files, "q8_0"), lambda: by_quant(REPO, files)):
        with pytest.raises(DataError, match=r"several files at q8_0: old/x-Q8_0\.gguf, x-Q8_0\.gguf; name one"):
            choose()


def test_a_whole_file_goes_over_the_same_in_parts() -> None:
    files = ["x-Q8_0.gguf", "parts/x-Q8_0-00001-of-00002.gguf", "parts/x-Q8_0-00002-of-00002.gguf"]
    assert choose_gguf(REPO, files, "q8_0") == by_quant(REPO, files)["q8_0"] == "x-Q8_0.gguf"


def test_a_message_about_ten_thousand_files_stays_short() -> None:
    files = [f"x{n}-IQ{n % 8 + 1}_{'S' * (n // 8 + 1)}.gguf" for n in range(10_000)]
    with pytest.raises(DataError, match=r"…$") as caught:
        choose_gguf(REPO, files, None)
    assert len(str(caught.value)) < 20_000 and str(caught.value).count(",") == 12
    with pytest.raises(DataError, match="…; name one") as caught:
        choose_gguf(REPO, [f"{n}/x-Q8_0.gguf" for n in range(10_000)], "q8_0")
    assert len(str(caught.value)) < 500


def test_files_by_quantization() -> None:
    found = by_quant(REPO, FILES)
    assert found == {"q4_K_M": FILES[2], "q8_0": FILES[3], "IQ3_XS": FILES[4]}
    with pytest.raises(DataError, match="in parts only"):
        by_quant(REPO, FILES[5:])


def test_the_examples() -> None:
    assert doctest.testmod(names_module).failed == 0
