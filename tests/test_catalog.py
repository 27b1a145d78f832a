from __future__ import annotations

import doctest
import json
import random
import re
from pathlib import Path

import pytest

import minichat.catalog as catalog_module
from minichat.catalog import Catalog, load_catalog
from minichat.catalog_file import parse_entries, read_entries
from minichat.manifest import ModelName
from quant.errors import DataError
from quant.types import TARGET_NAMES

OWN = Path(catalog_module.__file__).with_name("catalog.toml")
SMALL3 = "mistralai/Mistral-Small-24B-Instruct-2501"
MODEL = """
[[model]]
family = "mine"
tag = "1b-chat"
aliases = ["1b"]
default = true
repo = "me/Mine-1B"
licence = "mit"
template = "v3"
context_length = 4096
parameters = 1000000
"""


@pytest.fixture
def catalog(tmp_path: Path) -> Catalog:
    return load_catalog(tmp_path / "none.toml")


def with_line(line: str) -> str:
    """MODEL with a key of another value, or one more key."""
    key = line.partition(" ")[0]
    return "\n".join(old for old in MODEL.split("\n") if not old.startswith(f"{key} ")) + line + "\n"


@pytest.mark.parametrize(
    ("typed", "canonical", "repo"),
    [
        ("mistral-small", "mistral-small:24b-instruct-2501-q4_K_M", SMALL3),
        ("mistral-small:latest", "mistral-small:24b-instruct-2501-q4_K_M", SMALL3),
        ("mistral-small:24b", "mistral-small:24b-instruct-2501-q4_K_M", SMALL3),
        ("mistral-small:24b-q4_K_M", "mistral-small:24b-instruct-2501-q4_K_M", SMALL3),
        ("Mistral-SMALL:24B-Q4_k_m", "mistral-small:24b-instruct-2501-q4_K_M", SMALL3),
        ("mistral-small:24b-q8_0", "mistral-small:24b-instruct-2501-q8_0", SMALL3),
        ("mistral-small:q8_0", "mistral-small:24b-instruct-2501-q8_0", SMALL3),
        ("mistral-small:latest-q8_0", "mistral-small:24b-instruct-2501-q8_0", SMALL3),
        ("mistral-small:24b-instruct-2501", "mistral-small:24b-instruct-2501-q4_K_M", SMALL3),
        ("mistral-small:24b-instruct-2501-fp16", "mistral-small:24b-instruct-2501-fp16", SMALL3),
        ("mistral-small:24b-instruct-2501-f16", "mistral-small:24b-instruct-2501-fp16", SMALL3),
        ("mistral-small:24b-bf16", "mistral-small:24b-instruct-2501-bf16", SMALL3),
        (
            "mistral-small:24b-base-2501",
            "mistral-small:24b-base-2501-q4_K_M",
            "mistralai/Mistral-Small-24B-Base-2501",
        ),
        (
            "mistral-small3.1:24b",
            "mistral-small3.1:24b-instruct-2503-q4_K_M",
            "mistralai/Mistral-Small-3.1-24B-Instruct-2503",
        ),
        (
            "mistral-small3.1:24b-base-2503",
            "mistral-small3.1:24b-base-2503-q4_K_M",
            "mistralai/Mistral-Small-3.1-24B-Base-2503",
        ),
        ("mistral-small:22b", "mistral-small:22b-instruct-2409-q4_K_M", "mistralai/Mistral-Small-Instruct-2409"),
        ("ministral:8b", "ministral:8b-instruct-2410-q4_K_M", "mistralai/Ministral-8B-Instruct-2410"),
        ("mistral:7b-text-v0.3-q5_K_S", "mistral:7b-base-v0.3-q5_K_S", "mistralai/Mistral-7B-v0.3"),
    ],
)
def test_names_mean_what_they_mean_at_ollama(catalog: Catalog, typed: str, canonical: str, repo: str) -> None:
    match = catalog.find(ModelName.parse(typed))
    assert match is not None
    assert (str(match.canonical), match.entry.repo) == (canonical, repo)
    assert catalog.find(match.canonical) == match


@pytest.mark.parametrize(
    "typed",
    ["mistral-large", "mistral-small:23b", "mistral-small:24b-q3_K_M", "mistral-small:24bq8_0", "mistral-small:24b-",
     "mistral-small:24b-latest", "mistral-small:22b-base-2409"],
)  # fmt: skip
def test_other_names_mean_nothing(catalog: Catalog, typed: str) -> None:
    assert catalog.find(ModelName.parse(typed)) is None


def test_every_name_of_every_model_is_found_in_every_quantization(catalog: Catalog) -> None:
    for entry in catalog.entries:
        for tag in entry.tags:
            for target in TARGET_NAMES:
                match = catalog.find(ModelName.parse(f"{entry.family}:{tag}-{target}".swapcase()))
                assert match is not None
                assert (match.entry, match.target) == (entry, target)


def test_the_models_are_described_as_their_cards_do(catalog: Catalog) -> None:
    known = {e.repo.removeprefix("mistralai/"): e for e in catalog.entries}
    assert all(e.repo.startswith("mistralai/") for e in catalog.entries)
    facts = {
        "Mistral-Small-24B-Instruct-2501": ("apache-2.0", "v7-tekken", 32768, 0.15, False),
        "Mistral-Small-24B-Base-2501": ("apache-2.0", None, 32768, None, False),
        "Mistral-Small-3.1-24B-Base-2503": ("apache-2.0", None, 131072, None, True),
        "Mistral-Small-3.1-24B-Instruct-2503": ("apache-2.0", "v7-tekken", 131072, 0.15, True),
        "Mistral-Small-Instruct-2409": ("mrl", "v3", 32768, None, False),
        "Ministral-8B-Instruct-2410": ("mrl", "v3-tekken", 131072, None, False),
        "Pixtral-12B-2409": ("apache-2.0", "v3-tekken", 131072, None, True),
        "Pixtral-12B-Base-2409": ("apache-2.0", None, 131072, None, True),
    }
    for repo, told in facts.items():
        e = known[repo]
        assert (e.licence, e.template, e.context_length, e.temperature, e.sees_images) == told
    assert known["Ministral-8B-Instruct-2410"].parameters == 8_019_808_256


def test_each_family_has_one_default_and_all_texts_are_there(catalog: Catalog) -> None:
    families = {e.family for e in catalog.entries}
    assert sorted(e.family for e in catalog.entries if e.is_default) == sorted(families)
    assert all(e.description and e.licence for e in catalog.entries)


def test_models_are_found_by_repo(catalog: Catalog) -> None:
    entry = catalog.by_repo("MistralAI/mistral-small-24b-instruct-2501")
    assert entry is not None
    assert entry.tag == "24b-instruct-2501"
    assert catalog.by_repo("mistralai/Mistral-Large-Instruct-2411") is None
    assert catalog.by_repo("") is None


def test_ready_files_belong_to_their_model(tmp_path: Path) -> None:
    path = tmp_path / "catalog.toml"
    path.write_text(MODEL + 'gguf = "me/Mine-1B-GGUF"\n')
    entry = load_catalog(path).by_repo("me/mine-1b-gguf")
    assert entry is not None
    assert (entry.repo, entry.gguf) == ("me/Mine-1B", "me/Mine-1B-GGUF")


@pytest.mark.parametrize(
    ("typed", "first"),
    [
        ("mistral-smal", "mistral-small"),
        ("mistral-small:23b", "mistral-small:24b"),
        ("mistral-small:24b-instruct-2502-q8_0", "mistral-small:24b-instruct-2501-q8_0"),
        ("mistral-small:banana", "mistral-small:24b"),
        ("minstral:8b", "ministral:8b"),
        ("nemo", "mistral-nemo"),
        ("small3.1:24b", "mistral-small3.1:24b"),
        (SMALL3, "mistral-small:24b"),
        ("Mistral-Small-24B-Instruct-2501", "mistral-small:24b"),
    ],
)
def test_a_wrong_name_suggests_the_nearest(catalog: Catalog, typed: str, first: str) -> None:
    assert catalog.nearest(typed)[0] == first


def test_suggestions_are_names_that_work(catalog: Catalog) -> None:
    rng = random.Random(7)
    names = [f"{e.family}:{tag}" for e in catalog.entries for tag in e.tags]
    for _ in range(300):
        letters = list(rng.choice(names))
        letters[rng.randrange(len(letters))] = rng.choice("abcxyz0189-:.")
        for name in catalog.nearest("".join(letters)):
            assert catalog.find(ModelName.parse(name)) is not None


def test_what_is_like_nothing_suggests_nothing(catalog: Catalog) -> None:
    for typed in ("gpt-2", "", ":", "l", "\x1b[31m", "x" * 100_000):
        assert catalog.nearest(typed) == []


def test_search_looks_into_all_that_is_told(catalog: Catalog) -> None:
    assert [e.family for e in catalog.search("MINISTRAL")] == ["ministral"]
    assert {e.licence for e in catalog.search("mrl")} == {"mrl"}
    assert [e.tag for e in catalog.search("small 2501 base")] == ["24b-base-2501"]
    assert catalog.search("") == list(catalog.entries)
    assert catalog.search("gpt") == []


# A user's own catalog.


def test_a_users_catalog_adds_and_replaces(tmp_path: Path, home: Path) -> None:
    path = home / "minichat" / "catalog.toml"
    path.parent.mkdir()
    path.write_text(
        MODEL + MODEL.replace("mine", "mistral-small").replace("1b-chat", "24b-instruct-2501").replace('"1b"', '"22b"')
    )
    catalog = load_catalog()
    mine, theirs = catalog.find(ModelName("mine")), catalog.find(ModelName("mistral-small"))
    assert mine is not None
    assert str(mine.canonical) == "mine:1b-chat-q4_K_M"
    assert theirs is not None
    assert theirs.entry.repo == "me/Mine-1B"
    taken = catalog.find(ModelName("mistral-small", "22b"))  # an alias that the user took
    assert taken is not None
    assert taken.entry.repo == "me/Mine-1B"
    old = catalog.find(ModelName("mistral-small", "22b-instruct-2409"))
    assert old is not None
    assert old.entry.aliases == ()
    assert sum(e.is_default for e in catalog.entries if e.family == "mistral-small") == 1


def test_without_a_catalog_of_the_users_own_there_is_ours(home: Path, catalog: Catalog) -> None:
    assert load_catalog() == catalog


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ('family = "Mine"', "family is 'Mine', no name"),
        ('family = "demo"', "demo is the name of the model that comes with minichat"),
        ('family = "a/b"', "family is 'a/b', no name"),
        ("family = 7", "family is 7, no name"),
        ('tag = "../../x"', "tag is '../../x', no name"),
        ('tag = "24b\\u001b[31m"', "no name"),
        ('tag = "1b-q8_0"', "ends like a quantization"),
        ('tag = "latest"', "ends like a quantization"),
        ('aliases = "1b"', "aliases is '1b', no list of tags"),
        ('aliases = ["1b", 2]', "aliases is 2, no name"),
        ('aliases = ["f16"]', "ends like a quantization"),
        ('aliases = ["1b-chat"]', "mine:1b-chat stands in it twice"),
        ('repo = "me"', "repo is 'me', no repo on the hub"),
        ('repo = "../etc"', "no repo on the hub"),
        ('repo = "https://evil.example/x"', "no repo on the hub"),
        ('repo = "a/b\\n"', "no repo on the hub"),
        ('repo = "a--b/c"', "no repo on the hub"),
        ('gguf = "me/Mine\\u202e"', "no repo on the hub"),
        ("licence = 1", "licence is 1, no short line"),
        ('licence = "mit\\u001b[2J"', "no short line"),
        ('template = "chatml"', "no template"),
        ("context_length = 0", "context_length is 0, no sensible number"),
        ('context_length = "32k"', "context_length is '32k', no sensible number"),
        ("context_length = 9999999999", "no sensible number"),
        ("parameters = -1", "no sensible number"),
        ("parameters = 1.5", "no sensible number"),
        ("parameters = true", "no sensible number"),
        ("temperature = nan", "no temperature"),
        ("temperature = 9", "no temperature"),
        ("temperature = true", "no temperature"),
        ('sees_images = "no"', "neither true nor false"),
        ("default = 1", "neither true nor false"),
        ('license = "mit"', "the key 'license' is unknown"),
        ('description = "a\\nb"', "no short line"),
        (f'description = "{"x" * 300}"', "no short line"),
    ],
)
def test_a_value_that_cannot_be_is_refused_by_name(tmp_path: Path, line: str, told: str) -> None:
    path = tmp_path / "catalog.toml"
    path.write_text(with_line(line), encoding="utf-8")
    with pytest.raises(DataError) as caught:
        load_catalog(path)
    message = str(caught.value)
    assert told in message
    assert message.startswith(f"{path}: ")
    assert not re.search(r"[\x00-\x1f\u202e]", message)


@pytest.mark.parametrize("key", ["family", "tag", "repo", "licence", "context_length", "parameters"])
def test_a_key_that_is_missing_is_named(key: str) -> None:
    text = "\n".join(line for line in MODEL.split("\n") if not line.startswith(f"{key} "))
    with pytest.raises(DataError, match=f"model 1.*{key} is missing"):
        parse_entries(text, "catalog.toml")


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("[[model]]\nfamily = \n", r"c\.toml: this catalog is no TOML: .*line 2"),
        ('family = "x"\n', "'family' is unknown: a catalog holds"),
        ("model = 3\n", "`model` is no list"),
        ("model = [1]\n", "`model` is no list"),
        ("x = " + "[" * 20_000, "no TOML"),
        ("[[model]]\n" * 1001, "`model` is no list of at most 1000"),
        (MODEL + MODEL, "mine:1b-chat stands in it twice"),
        (MODEL + MODEL.replace('"1b', '"2b'), "two models are the default of mine"),
    ],
)
def test_a_damaged_catalog_is_refused(text: str, told: str) -> None:
    with pytest.raises(DataError, match=told):
        parse_entries(text, "c.toml")


def test_what_is_no_text_or_no_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "catalog.toml"
    path.write_bytes(b"\xff\xfe")
    with pytest.raises(DataError, match="not UTF-8"):
        read_entries(path)
    path.write_bytes(b"#" * (2 << 20))
    with pytest.raises(DataError, match="more than 1 MB"):
        read_entries(path)
    with pytest.raises(DataError, match="cannot read this catalog"):
        read_entries(tmp_path)


def test_a_mutated_catalog_is_read_or_refused_but_nothing_else() -> None:
    rng, text = random.Random(11), OWN.read_text()
    refused = 0
    for _ in range(300):
        letters = list(text)
        for _ in range(rng.randrange(1, 6)):
            letters[rng.randrange(len(letters))] = rng.choice('"[]=\n\\x\x00é{}#,.')
        try:
            for entry in parse_entries("".join(letters), "c.toml"):
                json.dumps(str(entry))
        except DataError as error:
            refused += 1
            assert "\n" not in str(error)
    assert refused > 100


def test_examples() -> None:
    assert doctest.testmod(catalog_module).failed == 0
