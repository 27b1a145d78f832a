import doctest
import os
from pathlib import Path

import pytest

from convert import provenance
from convert.provenance import MRL_NOTICE, Provenance, clean, find_provenance, folder_name

NOTHING = Provenance(None, None, None, None, None, None, {})
COMMIT = "4847e87e5975a573a2a190399ca62cd266c899ad"
SHA256 = "7c5d3f4b8b76583b422fcb9189ad6c89d5d97a094541ce8932dce3ecabde1421"
GIT_SHA1 = "a16a55fda99d2f2e7b69cce5cf93ff4ad3049930"
# As in mistralai/Ministral-8B-Instruct-2410: the key after license_link holds the whole licence, folded.
CARD = """---
library_name: vllm
language:
- en
- fr
license: other
license_name: mrl
inference: false
license_link: https://mistral.ai/licenses/MRL-0.1.md
extra_gated_prompt: >-
  # Mistral AI Research License

  license: apache-2.0

  ## 1. Scope
extra_gated_button_content: Submit
---

# Model Card
license: mit
"""


def cached(home: Path, repo: str, files: dict[str, tuple[str, str]], commit: str = COMMIT) -> Path:
    """A snapshot of the hub's cache. files: name -> (name of the blob, content)"""
    model = home / "hub" / f"models--{repo.replace('/', '--')}"
    snapshot = model / "snapshots" / commit
    snapshot.mkdir(parents=True)
    (model / "blobs").mkdir()
    for name, (blob, content) in files.items():
        (model / "blobs" / blob).write_text(content)
        (snapshot / name).symlink_to(Path("..", "..", "blobs", blob))
    return snapshot


def downloaded(folder: Path, name: str, etag: str, commit: str = COMMIT, late_s: float = 0.0) -> Path:
    """A file as `hf download --local-dir` leaves it. late_s: how long after it the file was changed."""
    metadata = folder / ".cache" / "huggingface" / "download" / f"{name}.metadata"
    metadata.parent.mkdir(parents=True, exist_ok=True)
    (folder / name).write_text("content")
    metadata.write_text(f"{commit}\n{etag}\n{(folder / name).stat().st_mtime - late_s}\n")
    return metadata


def test_a_folder_that_tells_nothing(tmp_path: Path) -> None:
    assert find_provenance(tmp_path) == NOTHING
    assert find_provenance(tmp_path / "missing") == NOTHING
    (tmp_path / "file").write_text(CARD)
    assert find_provenance(tmp_path / "file") == NOTHING
    assert find_provenance(Path("nul\0byte")) == NOTHING


def test_the_cache_names_repo_revision_and_hashes(tmp_path: Path) -> None:
    files = {"model.safetensors": (SHA256, "weights"), "config.json": (GIT_SHA1, "{}"), "README.md": ("b" * 40, CARD)}
    snapshot = cached(tmp_path, "mistralai/Ministral-8B-Instruct-2410", files)
    expected = Provenance(
        "mistralai/Ministral-8B-Instruct-2410", COMMIT, "mrl", "Mistral AI Research License",
        "https://mistral.ai/licenses/MRL-0.1.md", MRL_NOTICE, {"model.safetensors": SHA256},
    )  # fmt: skip
    assert find_provenance(snapshot) == expected
    (tmp_path / "short").symlink_to(snapshot)
    assert find_provenance(tmp_path / "short") == expected


def test_a_relative_path_into_the_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(cached(tmp_path, "org/name", {}))
    assert find_provenance(Path()).repo == "org/name"


@pytest.mark.parametrize("repo", ["gpt2", "a/b/c", "org/na me", "org/n\x1b[31m", "org/"])
def test_a_repo_that_is_none(tmp_path: Path, repo: str) -> None:
    assert find_provenance(cached(tmp_path, repo, {})).repo is None


def test_a_revision_that_is_no_commit(tmp_path: Path) -> None:
    assert find_provenance(cached(tmp_path, "org/name", {}, commit="main")).revision is None


def test_a_link_that_leads_elsewhere_tells_no_hash(tmp_path: Path) -> None:
    (tmp_path / "a.safetensors").symlink_to(f"elsewhere/{SHA256}")
    (tmp_path / "b.safetensors").symlink_to(f"../../blobs/{SHA256.upper()}")
    assert find_provenance(tmp_path) == NOTHING


def test_a_local_folder_names_revision_and_hashes(tmp_path: Path) -> None:
    downloaded(tmp_path, "model.safetensors", SHA256)
    downloaded(tmp_path, "config.json", GIT_SHA1)
    found = find_provenance(tmp_path)
    assert (found.repo, found.revision, found.hub_sha256) == (None, COMMIT, {"model.safetensors": SHA256})


def test_what_was_changed_after_its_download_is_not_vouched_for(tmp_path: Path) -> None:
    downloaded(tmp_path, "new.safetensors", SHA256, late_s=0.5)
    downloaded(tmp_path, "old.safetensors", "c" * 64, commit="d" * 40, late_s=60)
    found = find_provenance(tmp_path)
    assert (found.revision, found.hub_sha256) == (COMMIT, {"new.safetensors": SHA256})


def test_what_was_deleted_after_its_download_is_forgotten(tmp_path: Path) -> None:
    downloaded(tmp_path, "model.safetensors", SHA256)
    (tmp_path / "model.safetensors").unlink()
    assert find_provenance(tmp_path) == NOTHING


def test_files_of_two_revisions_have_no_common_one(tmp_path: Path) -> None:
    downloaded(tmp_path, "a.safetensors", SHA256)
    downloaded(tmp_path, "b.safetensors", "c" * 64, commit="d" * 40)
    found = find_provenance(tmp_path)
    assert (found.revision, found.hub_sha256) == (None, {"a.safetensors": SHA256, "b.safetensors": "c" * 64})


@pytest.mark.parametrize("text", ["", "\n\n\n", f"{COMMIT}\n{SHA256}\n", f"{COMMIT}\n{SHA256}\nnow", "\0" * 99])
def test_damaged_metadata_tell_nothing(tmp_path: Path, text: str) -> None:
    downloaded(tmp_path, "model.safetensors", SHA256).write_text(text)
    assert find_provenance(tmp_path) == NOTHING


@pytest.mark.parametrize(
    ("front", "licence", "is_mrl"),
    [
        ("license: apache-2.0", "apache-2.0", False),
        ('license: "apache-2.0"  # free', "apache-2.0", False),
        ("license:\n- apache-2.0\n- mit", "apache-2.0", False),
        ("license: [mit]", "mit", False),
        ("license: mrl", "mrl", True),
        ("license: other\nlicense_name: mistral-ai-research-license", "mrl", True),
        ("license: other\nlicense_link: https://mistral.ai/licenses/MRL-0.1.md", "mrl", True),
        ("license: other\nlicense_name: mnpl", "other", False),
        ("license: other\nbase_model:\n  - mistralai/Mistral-Small-Instruct-2409", "mrl", True),
        ("base_model: mistralai/Ministral-8B-Instruct-2410", "mrl", True),
        ("license: mit\nbase_model: mistralai/Ministral-8B-Instruct-2410", "mit", False),
        ("base_model: mistralai/Mistral-Small-24B-Instruct-2501", None, False),
        ("language:\n- license: mit", None, False),
    ],
)
def test_the_licence_that_a_card_names(tmp_path: Path, front: str, licence: str | None, is_mrl: bool) -> None:
    (tmp_path / "README.md").write_text(f"---\n{front}\n---\nSome text.\n", newline="")
    found = find_provenance(tmp_path)
    assert (found.licence, found.notice) == (licence, MRL_NOTICE if is_mrl else None)
    (tmp_path / "README.md").write_text(f"\ufeff---\n{front}\n---\n".replace("\n", "\r\n"), newline="")
    assert find_provenance(tmp_path) == found


@pytest.mark.parametrize("text", ["license: mit", "---\nlicense: mit\n", "text\n---\nlicense: mit\n---\n", "---"])
def test_a_card_without_front_matter(tmp_path: Path, text: str) -> None:
    (tmp_path / "README.md").write_text(text)
    assert find_provenance(tmp_path) == NOTHING


def test_the_licence_that_a_file_names(tmp_path: Path) -> None:
    (tmp_path / "LICENSE").write_text("   Apache License\n   Version 2.0, January 2004\n")
    assert find_provenance(tmp_path).licence == "apache-2.0"
    (tmp_path / "LICENSE").write_text("# **Mistral AI\nResearch License**\n\nIf You want to use …")
    assert find_provenance(tmp_path) == Provenance(
        None, None, "mrl", "Mistral AI Research License", None, MRL_NOTICE, {}
    )


@pytest.mark.parametrize(
    ("name", "is_mrl"),
    [
        ("Mistral-Small-Instruct-2409", True),
        ("Ministral-8B-Instruct-2410", True),
        ("ministral-8b-instruct-2410", True),
        ("Mistral-Large-Instruct-2411", True),
        ("Mistral-Small-24B-Instruct-2501", False),
    ],
)
def test_models_known_by_name_if_no_file_tells(tmp_path: Path, name: str, is_mrl: bool) -> None:
    folder = tmp_path / name
    folder.mkdir()
    assert (find_provenance(folder).notice == MRL_NOTICE) is is_mrl
    assert (find_provenance(cached(tmp_path, f"mistralai/{name}", {})).notice == MRL_NOTICE) is is_mrl
    (folder / "LICENSE").write_text("Apache License, Version 2.0")
    assert find_provenance(folder).notice is None


def test_texts_are_made_fit_for_metadata_and_terminals(tmp_path: Path) -> None:
    name = "A\x1b]0;owned\x07B\u202eC\u2028D\x85E" + "x" * 10_000
    (tmp_path / "README.md").write_text(f"---\nlicense: other\nlicense_name: {name}\n---\n", encoding="utf-8")
    found = find_provenance(tmp_path).licence_name
    assert found is not None and found.startswith("A]0;ownedBC D E") and found.isprintable() and len(found) == 200
    assert clean("\n \t") == ""


def test_odd_files_neither_raise_nor_hang(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "README.md")
    (tmp_path / "LICENSE").mkdir()
    (tmp_path / "LICENSE.md").symlink_to("LICENSE.md")
    (tmp_path / "LICENSE.txt").symlink_to("/dev/zero")
    (tmp_path / "loop").symlink_to("loop")
    downloads = tmp_path / ".cache" / "huggingface" / "download"
    downloads.mkdir(parents=True)
    os.mkfifo(downloads / "model.safetensors.metadata")
    (downloads / ".metadata").write_text(f"{COMMIT}\n{SHA256}\n9e99\n")
    assert find_provenance(tmp_path) == NOTHING
    assert find_provenance(tmp_path / "loop") == NOTHING


def test_bytes_that_are_no_text(tmp_path: Path) -> None:
    (tmp_path / "README.md").write_bytes(b"---\nlicense: \xff\xfe\n---\n" + bytes(range(256)) * 5000)
    assert find_provenance(tmp_path).licence == "\ufffd\ufffd"


def test_a_folder_whose_name_is_no_text_has_one_that_is() -> None:
    """Python shows bytes that are no UTF-8 as halves of characters, which cannot be written."""
    assert folder_name(Path("/x/caf\udce9\n\x1b[2J 7B")) == "caf [2J 7B"


def test_its_examples() -> None:
    assert doctest.testmod(provenance).failed == 0
