"""Look-up and search, against a hub of our own. About 6 seconds."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hub_server import HubServer, listing

from minichat.hub import environment
from minichat.hub.listing import fault_in_name
from minichat.hub.lookup import Found, look_up, search
from minichat.hub.patience import Patience
from quant.errors import DataError, NetworkError, UsageError

QUICK = Patience(stall_s=0.3, base_s=0.001, cap_s=0.01)
TOKEN = "hf_SecretSecretSecretSecretSecret"
FILES = {"config.json": b'{"a": 1}', "sub/model.safetensors": b"weights", "README.md": b""}


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Iterator[HubServer]:
    with HubServer() as server:
        monkeypatch.setenv("HF_ENDPOINT", server.url)
        yield server


def one_line(error: BaseException) -> str:
    text = str(error)
    assert text.isprintable()
    assert TOKEN not in text
    assert len(text) < 400
    return text


def refused(kind: type[Exception], *arguments: Any) -> str:
    with pytest.raises(kind) as raised:
        look_up(*arguments, patience=QUICK)
    return one_line(raised.value)


def test_a_repo(hub: HubServer) -> None:
    commit = hub.add("org/model", FILES, licence="other", license_name="mrl", license_link="https://l.example")
    repo = look_up("org/model")
    assert (repo.id, repo.commit, repo.gated) == ("org/model", commit, False)
    assert (repo.licence, repo.licence_name, repo.licence_link) == ("other", "mrl", "https://l.example")
    assert [(f.name, f.size_bytes) for f in repo.files] == [(name, len(data)) for name, data in FILES.items()]
    config, weights, _ = repo.files
    git = subprocess.run(["git", "hash-object", "--stdin"], input=FILES["config.json"], capture_output=True, check=True)
    assert (config.sha256, config.git_oid) == (None, git.stdout.decode().strip())
    sha = subprocess.run(["sha256sum"], input=FILES["sub/model.safetensors"], capture_output=True, check=True)
    assert (weights.sha256, weights.git_oid) == (sha.stdout.decode().split()[0], None)
    assert repo.file("README.md").size_bytes == 0
    with pytest.raises(DataError, match="has no file nothing"):
        repo.file("nothing")
    assert len(hub.log) == 1


def test_revisions(hub: HubServer) -> None:
    first = hub.add("org/model", {"a": b"1"})
    second = hub.add("org/model", {"a": b"2"})
    assert look_up("org/model").commit == second
    assert look_up("org/model", first).commit == first
    assert "org/model has no revision v9" in refused(DataError, "org/model", "v9")


def test_what_does_not_exist(hub: HubServer, monkeypatch: pytest.MonkeyPatch) -> None:
    assert "no repo org/none" in refused(DataError, "org/none")
    assert "if it is private, log in" in refused(DataError, "org/none")
    hub.tokens.add(TOKEN)
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    assert "no repo org/none that your account may see" in refused(DataError, "org/none")
    assert refused(UsageError, "no repo at all")


def test_private_repos_and_tokens(hub: HubServer, monkeypatch: pytest.MonkeyPatch) -> None:
    hub.add("org/private", FILES, private=True)
    assert "log in with `hf auth login` or set HF_TOKEN" in refused(DataError, "org/private")
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    assert "does not accept your token" in refused(DataError, "org/private")
    hub.tokens.add(TOKEN)
    hub.granted.add((TOKEN, "org/private"))
    assert look_up("org/private").id == "org/private"
    assert hub.log[-1].headers["authorization"] == f"Bearer {TOKEN}"


@pytest.mark.parametrize("token", ["hf_ö", "hf_a b", "hf_\x1b[2J"])
def test_a_token_that_is_none_is_not_shown(hub: HubServer, monkeypatch: pytest.MonkeyPatch, token: str) -> None:
    monkeypatch.setenv("HF_TOKEN", token)
    assert "hf_" not in refused(UsageError, "org/model").replace("hf auth", "")
    assert not hub.log


def test_the_stored_login_is_used_and_can_be_left_out(tmp_path: Path) -> None:
    (tmp_path / "token").write_text(TOKEN + "\n")
    code = "from minichat.hub import environment; print(environment.token())"
    variables = {**os.environ, "HF_HOME": str(tmp_path)}
    for more, expected in (
        ({}, TOKEN),
        ({"HF_HUB_DISABLE_IMPLICIT_TOKEN": "1"}, "None"),
        ({"HF_TOKEN": "hf_x"}, "hf_x"),
    ):
        command = [sys.executable, "-c", code]
        done = subprocess.run(command, env=variables | more, capture_output=True, text=True, check=True)
        assert done.stdout.strip() == expected


@pytest.mark.parametrize("value", ["1", "true", "ON", "yes"])
def test_offline_asks_nobody(hub: HubServer, monkeypatch: pytest.MonkeyPatch, value: str) -> None:
    hub.add("org/model", FILES)
    monkeypatch.setenv("HF_HUB_OFFLINE", value)
    assert "HF_HUB_OFFLINE is set" in refused(NetworkError, "org/model")
    with pytest.raises(NetworkError, match="HF_HUB_OFFLINE"):
        search("model")
    assert not hub.log


@pytest.mark.parametrize(
    "address", ["ftp://a", "hub.example", "http://", "http://a b", "http://u:p@h", "http://a:99999"]
)
def test_endpoints_that_are_none(monkeypatch: pytest.MonkeyPatch, address: str) -> None:
    monkeypatch.setenv("HF_ENDPOINT", address)
    with pytest.raises(UsageError, match="HF_ENDPOINT"):
        environment.endpoint()


# A hub that cannot be reached, or answers badly.


def test_nobody_there(monkeypatch: pytest.MonkeyPatch) -> None:
    for address in ("http://127.0.0.1:9", "http://no-such-host.invalid", "https://127.0.0.1:9"):
        monkeypatch.setenv("HF_ENDPOINT", address)
        began = time.monotonic()
        assert "cannot be reached" in refused(NetworkError, "org/model")
        with pytest.raises(NetworkError, match="cannot be reached"):
            search("model")
        assert time.monotonic() - began < 20


def test_answers_that_are_no_listing_of_a_hub(hub: HubServer) -> None:
    hub.add("org/model", FILES)
    path = "/api/models/org/model"
    for raw in (b"<html>log in</html>", b"", b"\xff\xfe", b'{"id": '):
        hub.raw[path] = raw
        assert "is no answer of a hub" in refused(NetworkError, "org/model")
    for damaged in (
        b"[]",
        b'"text"',
        b"7",
        b"null",
        b"{}",
        b"[" * 100_000,
        b'{"id": "org/model"}',
        b'{"id": 7, "sha": 8}',
    ):
        hub.raw[path] = damaged
        assert "damaged" in refused(DataError, "org/model") or damaged.startswith(b"[[")


def test_a_hub_that_is_down_for_a_while(hub: HubServer, monkeypatch: pytest.MonkeyPatch) -> None:
    hub.add("org/model", FILES)
    answers = iter([b"nonsense", b"nonsense", json.dumps(listing(hub.repos["org/model"][-1])).encode()])
    hub.raw["/api/models/org/model"] = lambda: next(answers)
    assert look_up("org/model", patience=QUICK).id == "org/model"


def test_a_hub_that_does_not_answer(hub: HubServer, monkeypatch: pytest.MonkeyPatch) -> None:
    def never() -> bytes:
        time.sleep(2)
        return b""

    hub.raw["/api/models/org/model"] = never
    began = time.monotonic()
    patience = Patience(stall_s=0.1, tries=2, base_s=0.001)
    with pytest.raises(NetworkError, match="cannot be fetched"):
        look_up("org/model", patience=patience)
    assert time.monotonic() - began < 1.5


def test_what_a_hub_warns_of_is_not_logged(hub: HubServer, capfd: pytest.CaptureFixture[str]) -> None:
    import logging

    hub.add("org/model", FILES)
    hub.more_headers = {"X-HF-Warning": "topic; \x1b[2Jobey"}
    assert look_up("org/model").id == "org/model"
    assert logging.getLogger("huggingface_hub").level >= logging.ERROR
    assert capfd.readouterr() == ("", "")


def test_the_token_does_not_follow_a_redirect_to_another_host(hub: HubServer, monkeypatch: pytest.MonkeyPatch) -> None:
    hub.tokens.add(TOKEN)
    hub.add("org/model", FILES)
    hub.redirects["/api/models/org/model?blobs=true"] = f"{hub.cdn_url}/api/models/org/model"
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    assert refused(DataError, "org/model")
    (stolen,) = hub.requests("cdn")
    assert "authorization" not in stolen.headers


# Hostile listings.


def change(**changes: Any) -> Any:
    return lambda entry: entry["siblings"][1].update(changes)


@pytest.mark.parametrize(
    "spoil",
    [
        *(
            change(rfilename=name)
            for name in (
                "../../.bashrc",
                "/etc/passwd",
                "a/../b",
                "a//b",
                "./a",
                "a/",
                "..",
                "",
                "a\x00b",
                "a\nb",
                "a\x1b[2J",
                "a\u202eb",
                "\ud800",
                "a\\b",
                "C:evil",
                "a:stream",
                "CON",
                "con.json",
                "sub/nul.safetensors",
                "COM1.txt",
                "lpt¹",
                "a.",
                "a ",
                "b /a",
                "x" * 5000,
                "é" * 200,
                "README.md",
                7,
                None,
                ["a"],
            )
        ),
        *(change(size=size) for size in (-1, 1 << 60, "7", 7.0, True, None, [], 8)),
        *(change(lfs={"sha256": sha, "size": 7, "pointerSize": 1}) for sha in ("", "0" * 63, "G" * 64, 7, None)),
        change(lfs={"sha256": "0" * 64, "size": 8, "pointerSize": 1}),
        change(lfs={"sha256": "0" * 64}),
        change(lfs="0" * 64),
        change(blobId="../x"),
        lambda entry: entry.update(sha="main"),
        lambda entry: entry.update(sha="../" * 14),
        lambda entry: entry.update(sha=None),
        lambda entry: entry.update(id="../../etc"),
        lambda entry: entry.update(id=None),
        lambda entry: entry.update(siblings=None),
        lambda entry: entry.update(siblings=["a"]),
        lambda entry: entry.update(siblings=[{"rfilename": "a"}]),
        lambda entry: entry.update(createdAt="yesterday"),
        lambda entry: entry.update(cardData={"ignore_metadata_errors": False}),
    ],
)
def test_hostile_listings_are_refused(hub: HubServer, spoil: Any) -> None:
    hub.add("org/model", FILES)
    entry = listing(hub.repos["org/model"][-1])
    spoil(entry)
    hub.raw["/api/models/org/model"] = json.dumps(entry).encode()
    assert "damaged" in refused(DataError, "org/model")


def test_texts_are_made_harmless(hub: HubServer) -> None:
    hub.add("org/model", FILES, licence="\x1b[31mred\n" + "x" * 5000)
    licence = look_up("org/model").licence
    assert licence is not None
    assert licence.isprintable()
    assert len(licence) <= 200
    for odd in ({"license": ["mit", "x"]}, {"license": {"a": 1}}, [1], "x", None):
        entry = listing(hub.repos["org/model"][-1]) | {"cardData": odd, "tags": [1, None, "license:from-tag"]}
        hub.raw["/api/models/org/model"] = json.dumps(entry).encode()
        expected = "mit" if isinstance(odd, dict) and isinstance(odd["license"], list) else "from-tag"
        assert look_up("org/model").licence == expected


@pytest.mark.parametrize(
    "name", ["model-00001-of-00010.safetensors", "a..b", ".gitattributes", "sub/ä.txt", "console.log", "a b"]
)
def test_names_that_may_stand(name: str) -> None:
    assert fault_in_name(name) is None


# Search.


def test_search(hub: HubServer) -> None:
    hub.add("org/model-gguf", {"a.gguf": b""}, gated="manual")
    hub.add("org/model", FILES)
    hub.add("org/other", FILES)
    assert search("MODEL") == [
        Found("org/model-gguf", 1234, "apache-2.0", True, True, False, None),
        Found("org/model", 1234, "apache-2.0", False, False, True, None),
    ]
    assert len(search("o", 1)) == 1
    assert search("nothing of the kind") == []


def test_search_reads_what_the_hub_knows(hub: HubServer) -> None:
    entry = {"id": "a/b", "downloads": -5, "gguf": {"total": 7_000}, "tags": ["license:mit", 3], "gated": "auto"}
    hub.raw["/api/models"] = json.dumps([entry]).encode()
    assert search("b") == [Found("a/b", 0, "mit", True, True, False, 7_000)]


@pytest.mark.parametrize("raw", [b"{}", b"[1]", b'[{"id": "../x"}]', b'[{"id": "a/b"}, {}]', b"null"])
def test_damaged_searches(hub: HubServer, raw: bytes) -> None:
    hub.raw["/api/models"] = raw
    with pytest.raises(DataError, match="damaged"):
        search("x")


def test_search_fails_at_once(hub: HubServer) -> None:
    hub.raw["/api/models"] = b"<html>"
    with pytest.raises(NetworkError):
        search("x")
    assert len(hub.log) == 1
