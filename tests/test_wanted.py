"""What MODEL means on the hub, and what it is called here."""

from __future__ import annotations

import doctest
from dataclasses import replace
from pathlib import Path

import pytest

import minichat.wanted as wanted_module
from minichat.catalog import Catalog, load_catalog
from minichat.hub.address import parse_address
from minichat.manifest import Manifest, ModelName
from minichat.store import Store
from minichat.wanted import (
    Wanted,
    checkpoint_of,
    find_here,
    from_address,
    from_catalog,
    name_of_repo,
    refuse_unmade,
)
from quant.errors import DataError, UsageError

NEMO = "mistralai/Mistral-Nemo-Instruct-2407"
NEMO_NAME = ModelName("mistral-nemo", "12b-instruct-2407-q4_K_M")
SHA = "ab" * 32
MANIFEST = Manifest(
    "x", "q4_K_M", f"sha256-{SHA}", 4, "q4_K_M", "llama", None, 1, 1, f"hf:{NEMO}", "stamp", "2026-01-01T00:00:00+00:00"
)


@pytest.fixture
def catalog() -> Catalog:
    return load_catalog()


def at(text: str, quant: str | None = None) -> Wanted:
    address = parse_address(text)
    assert address is not None
    return from_address(address, quant, load_catalog())


def test_a_name_of_the_catalog(catalog: Catalog) -> None:
    wanted = from_catalog("Mistral-Nemo", None, catalog)
    assert wanted is not None and wanted.entry is not None
    assert (wanted.name, wanted.quant, wanted.address.repo) == (NEMO_NAME, "q4_K_M", NEMO)
    assert (wanted.title, wanted.source, wanted.make) == (str(NEMO_NAME), f"hf:{NEMO}", False)
    assert from_catalog("mistral-nemo:12b-instruct-2407-q4_K_M", "Q4_K_M", catalog) == wanted
    assert from_catalog("no-such-model", None, catalog) is None


def test_a_catalog_may_name_a_repo_of_ready_files(catalog: Catalog) -> None:
    entries = tuple(replace(e, gguf="mistralai/Nemo-GGUF") if e.repo == NEMO else e for e in catalog.entries)
    ready = replace(catalog, entries=entries)
    wanted = from_catalog("mistral-nemo", None, ready)
    assert wanted is not None and wanted.address.repo == "mistralai/Nemo-GGUF"
    made = checkpoint_of(wanted)
    assert (made.address.repo, made.make, made.name) == (NEMO, True, NEMO_NAME)


@pytest.mark.parametrize("quant", ["q8_0", "Q8_0"])
def test_a_quantization_beside_a_name(catalog: Catalog, quant: str) -> None:
    wanted = from_catalog("mistral-nemo:12b", quant, catalog)
    assert wanted is not None
    assert (wanted.quant, str(wanted.name)) == ("q8_0", "mistral-nemo:12b-instruct-2407-q8_0")


@pytest.mark.parametrize("tag", ["12b-q6_K", "12b-instruct-2407-Q4_K_M", "12b-q4_k_m"])
def test_a_quantization_that_disagrees_with_the_tag(catalog: Catalog, tag: str) -> None:
    with pytest.raises(UsageError, match="give one of them"):
        from_catalog(f"mistral-nemo:{tag}", "q8_0", catalog)


def test_an_unknown_quantization_is_a_wrong_option(catalog: Catalog) -> None:
    with pytest.raises(UsageError, match="q7"):
        from_catalog("mistral-nemo", "q7", catalog)


def test_a_repo_of_the_catalog_has_its_name() -> None:
    wanted = at(f"{NEMO.upper().replace('MISTRALAI', 'mistralai')}:q6_K")
    assert str(wanted.name) == "mistral-nemo:12b-instruct-2407-q6_K"
    assert wanted.make  # whoever names the checkpoint gets what is made of it
    assert at(f"https://huggingface.co/{NEMO}/tree/main").name == NEMO_NAME
    assert at(f"https://huggingface.co/{NEMO}/blob/main/README.md").name == NEMO_NAME


def test_another_revision_or_one_file_is_not_the_catalogs_model() -> None:
    revision = at(f"https://huggingface.co/{NEMO}/tree/refs%2Fpr%2F3")
    file = at(f"https://huggingface.co/{NEMO}/blob/main/Nemo-Q8_0.gguf")
    assert (revision.name, revision.entry, file.name, file.entry) == (None, None, None, None)
    assert (revision.source, file.source) == (f"hf:{NEMO}@refs/pr/3", f"hf:{NEMO}/Nemo-Q8_0.gguf")
    assert (revision.make, file.make) == (False, False)


def test_a_repo_that_the_catalog_does_not_know() -> None:
    wanted = at("hf.co/someone/Small-GGUF:Q8_0")
    assert (wanted.name, wanted.entry, wanted.quant, wanted.title) == (None, None, "q8_0", "someone/Small-GGUF:q8_0")
    assert at("someone/Small-GGUF").title == "someone/Small-GGUF"
    assert at("someone/Small-GGUF", "iq3_xs").quant == "IQ3_XS"


def test_two_quantizations_are_one_too_many() -> None:
    assert at("a/b:q8_0", "Q8_0").quant == "q8_0"
    with pytest.raises(UsageError, match="a/b:q8_0 and --quant q6_K: give one of them"):
        at("a/b:q8_0", "q6_K")
    link = "https://huggingface.co/a/b/blob/main/x-Q8_0.gguf"
    assert at(link, "q8_0").quant == "q8_0"
    for odd in (link, "https://huggingface.co/a/b/blob/main/x.gguf"):
        with pytest.raises(UsageError, match=r"the link leads to x.*\.gguf itself: leave out --quant q6_K"):
            at(odd, "q6_K")


def test_checkpoint_of_gives_it_a_name() -> None:
    made = checkpoint_of(at("a/b:q8_0"), ModelName("mine"))
    assert (made.name, made.make) == (ModelName("mine", "q8_0"), True)
    assert checkpoint_of(at("a/b"), ModelName("mine", "best")).name == ModelName("mine", "best")
    with pytest.raises(DataError, match="IQ3_XS"):
        checkpoint_of(at("a/b:iq3_xs"), ModelName("mine"))
    assert refuse_unmade(at("a/b")) == "q4_K_M"
    with pytest.raises(DataError, match="a/b has no GGUF files, and unknown quantization 'IQ3_XS'"):
        refuse_unmade(at("a/b:iq3_xs"))


@pytest.mark.parametrize(
    ("repo", "name"),
    [
        ("bartowski/Mistral-Nemo-Instruct-2407-GGUF", "mistral-nemo-instruct-2407"),
        ("a/model.gguf", "model"),
        ("a/model_GGUF", "model"),
        ("a/GGUF", "gguf"),
        ("a/demo", "demo-hub"),
        ("a/demo-GGUF", "demo-hub"),
        ("a/" + "x" * 96, "x" * 80),
        ("a/X_y.Z-", "x_y.z"),
    ],
)
def test_names_of_repos(repo: str, name: str) -> None:
    made = name_of_repo(repo, "q8_0")
    assert made == ModelName(name, "q8_0") == ModelName.parse(str(made))


def put(store: Store, **changes: str) -> Manifest:
    manifest = replace(MANIFEST, **changes)  # type: ignore[arg-type]
    with store.incoming(ModelName(manifest.name, manifest.tag)) as folder:
        (folder / "f").write_bytes(b"GGUF")
        store.add(folder / "f", manifest)
    return store.get(ModelName(manifest.name, manifest.tag))


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "models")


def test_a_model_is_found_by_where_it_came_from(store: Store) -> None:
    mine = put(store, name="mine", tag="best", source="hf:a/B")
    assert find_here(store, at("a/b")) == mine
    assert find_here(store, at("A/b:q4_K_M")) == mine
    assert find_here(store, at("a/b:q8_0")) is None
    assert find_here(store, at("a/c")) is None
    assert find_here(store, at("https://huggingface.co/a/b/tree/v2")) is None
    eight = put(store, name="mine", tag="eight", source="hf:a/B", target="q8_0", blob="sha256-" + "cd" * 32)
    assert find_here(store, at("a/b:q8_0")) == eight
    assert find_here(store, at("a/b")) == mine  # q4_K_M, where nobody says


def test_a_model_is_found_by_the_catalogs_name(store: Store, catalog: Catalog) -> None:
    wanted = from_catalog("mistral-nemo", None, catalog)
    assert wanted is not None and find_here(store, wanted) is None
    made = put(store, name=NEMO_NAME.name, tag=str(NEMO_NAME.tag), source="/home/me/nemo")
    assert find_here(store, wanted) == made


def test_a_model_whose_file_is_gone_is_not_here(store: Store) -> None:
    made = put(store, source="hf:a/b")
    store.path(made).unlink()
    assert find_here(store, at("a/b")) is None


def test_the_only_one_is_meant_whatever_its_quantization(store: Store) -> None:
    eight = put(store, tag="q8_0", target="q8_0", source="hf:a/b")
    assert find_here(store, at("a/b")) == eight
    put(store, tag="q6_K", target="q6_K", source="hf:a/b", blob="sha256-" + "cd" * 32)
    assert find_here(store, at("a/b")) is None


def test_the_examples() -> None:
    assert doctest.testmod(wanted_module).failed == 0
