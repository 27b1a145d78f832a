import pytest

from minichat.hub.address import Address, is_repo, parse_address
from quant.errors import UsageError

MIRROR = "http://mirror.example:8080/hf"


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("mistralai/Mistral-Small-24B-Instruct-2501", Address("mistralai/Mistral-Small-24B-Instruct-2501")),
        ("org/repo:Q4_K_M", Address("org/repo", quant="Q4_K_M")),
        ("hf:org/repo", Address("org/repo")),
        ("HF:org/repo:q8_0", Address("org/repo", quant="q8_0")),
        ("hf.co/org/repo:IQ4_XS", Address("org/repo", quant="IQ4_XS")),
        ("huggingface.co/org/repo", Address("org/repo")),
        ("https://huggingface.co/org/repo", Address("org/repo")),
        ("https://huggingface.co/org/repo/", Address("org/repo")),
        ("HTTPS://HuggingFace.co/org/repo?library=x#top", Address("org/repo")),
        ("https://huggingface.co/org/repo/tree/main", Address("org/repo", "main")),
        ("https://huggingface.co/org/repo/tree/feature/a", Address("org/repo", "feature/a")),
        ("https://huggingface.co/org/repo/blob/main/a.gguf", Address("org/repo", "main", "a.gguf")),
        (
            "https://hf.co/org/repo/resolve/v1.0/s/a%20b.gguf?download=true",
            Address("org/repo", "v1.0", "s/a b.gguf"),
        ),
        ("https://huggingface.co/org/repo/blob/refs%2Fpr%2F1/a.gguf", Address("org/repo", "refs/pr/1", "a.gguf")),
        ("http://mirror.example:8080/hf/org/repo/blob/main/a.gguf", Address("org/repo", "main", "a.gguf")),
        ("http://mirror.example:8080/org/repo", Address("org/repo")),
        ("mirror.example:8080/org/repo:q4_0", Address("org/repo", quant="q4_0")),
    ],
)
def test_addresses(text: str, address: Address) -> None:
    assert parse_address(text, MIRROR) == address


@pytest.mark.parametrize(
    "text",
    [
        "mistral-small",
        "mistral-small:24b",
        "./org/repo",
        "/org/repo",
        "../repo",
        "org/repo/file.gguf",
        "models/a.gguf/",
        "C:\\models\\a.gguf",
        "org/repo:",
        "org/repo:q 4",
        "org//repo",
        "~/models",
        "",
        "a" * 97 + "/b",
        "org/re\x00po",
        "örg/repo",
        "org/repo--x",
    ],
)
def test_what_is_no_address(text: str) -> None:
    assert parse_address(text, MIRROR) is None


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("https://example.com/org/repo", "is not on the hub"),
        ("https://huggingface.co.evil.example/org/repo", "is not on the hub"),
        ("https://huggingface.co@evil.example/org/repo", "is not on the hub"),
        ("https://evil.example#huggingface.co/org/repo", "is not on the hub"),
        ("ftp://huggingface.co/org/repo", "should begin with https"),
        ("https://huggingface.co/datasets/org/data", "no repo of a model"),
        ("https://huggingface.co/spaces/org/app", "no repo of a model"),
        ("https://huggingface.co/org", "names no repo"),
        ("https://huggingface.co/", "names no repo"),
        ("https://huggingface.co/org/repo/discussions/3", "leads to no model"),
        ("https://huggingface.co/org/repo/blob/main/../../x", "no file that a repo can have"),
        ("https://huggingface.co/org/repo/blob/main/%2e%2e/x", "no file that a repo can have"),
        ("https://huggingface.co/org/repo/blob/main/a%00b", "no file that a repo can have"),
        ("https://huggingface.co/org/repo/blob/main/a%5Cb", "no file that a repo can have"),
        ("https://huggingface.co/org/repo/blob/main/" + "a" * 1001, "no file that a repo can have"),
        ("https://huggingface.co/org/repo/tree/../x", "no revision"),
        ("https://huggingface.co/..%2f../repo/tree/main", "names no repo"),
        ("https://huggingface.co/org/repo/blob/%ff/a", "is no link"),
        ("https://[::1/org/repo", "is no link"),
        ("hf:repo", "names no repo"),
        ("hf:org/repo/more", "names no repo"),
        ("hf:org/repo:", "names no repo"),
        ("hf:org/\x1b[2Jrepo", "names no repo"),
        ("https://huggingface.co/org/repo.git", "names no repo"),
    ],
)
def test_addresses_that_lead_nowhere(text: str, says: str) -> None:
    with pytest.raises(UsageError, match=says) as raised:
        parse_address(text, MIRROR)
    assert str(raised.value).isprintable()
    assert len(str(raised.value)) < 400


def test_no_secret_of_a_link_is_repeated() -> None:
    for link in ("https://me:hf_secret@example.com/a/b", "https://example.com/a/b?token=hf_secret"):
        with pytest.raises(UsageError) as raised:
            parse_address(link, MIRROR)
        assert "hf_secret" not in str(raised.value)


@pytest.mark.parametrize("name", ["a/b", "A-1/b_2.c", "0/0", "a" * 96 + "/" + "b" * 96, "org/Model_"])
def test_repos(name: str) -> None:
    assert is_repo(name)


@pytest.mark.parametrize(
    "name",
    ["a", "a/b/c", "/a", "a/", "-a/b", ".a/b", "a/b.", "a/b-", "a..b/c", "a/b--c", "a/b.git", "a/b\n", "a b/c", "a/é"],
)
def test_what_is_no_repo(name: str) -> None:
    assert not is_repo(name)


def test_the_endpoint_of_the_environment_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_ENDPOINT", "https://hub.example/")
    assert parse_address("https://hub.example/org/repo") == Address("org/repo")
    monkeypatch.setenv("HF_ENDPOINT", "file:///etc")
    with pytest.raises(UsageError, match="HF_ENDPOINT"):
        parse_address("https://hub.example/org/repo")
