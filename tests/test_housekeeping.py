"""What the store takes, and what of it can go: `du` and `prune`, from inside."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
from program import fails, minichat
from pseudo_terminal import Tty
from test_store import BLOB, MANIFEST, NO_BLOB, OTHER_BLOB, SMALL, add, files

from convert.publish import reserve
from minichat import space
from minichat.housekeeping import Leftover, du, leftovers, prune
from minichat.manifest import ModelName
from minichat.store import Store
from quant.errors import StorageError


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "models")


def clutter(store: Store) -> None:
    """A model with two names, a file without one, partial work of a killed process, and what it was writing."""
    add(store, MANIFEST)
    store.copy(SMALL, ModelName("twin"))
    left = {
        f"blobs/{NO_BLOB}": 10,
        "partial/big@24b/model.gguf.part": 200,
        "partial/big@24b/sub/config.json": 50,
        "incoming/dead@q8_0/.model.gguf.part": 3000,
        "incoming/dead@q8_0.lock": 0,
        "manifests/small/.q8_0.json.part": 4,
    }
    for path, size in left.items():
        (store.root / path).parent.mkdir(parents=True, exist_ok=True)
        (store.root / path).write_bytes(b"x" * size)


KEPT = [f"blobs/{BLOB}", "manifests/small/q4_k_m.json", "manifests/twin/q4_k_m.json"]


def facts(found: list[Leftover]) -> list[tuple[str, str, int, bool]]:
    return [(left.kind, left.name, left.size_bytes, left.in_use) for left in found]


CLUTTER = [
    ("partial work", "big:24b", 250, False),
    ("half-written", "dead:q8_0", 3000, False),
    ("half-written", ".q8_0.json.part", 4, False),
    ("without a name", NO_BLOB, 10, False),
]


def test_what_models_take(store: Store) -> None:
    add(store, replace(MANIFEST, blob=OTHER_BLOB, name="other", size_bytes=5), b"abcde")
    clutter(store)
    usage = du(store)
    assert [(m.name, m.own_bytes, m.shared_with, m.problem) for m in usage.models] == [
        ("other:q4_K_M", 5, (), None),
        ("small:q4_K_M", 3, ("twin:q4_K_M",), None),
        ("twin:q4_K_M", 3, ("small:q4_K_M",), None),
    ]
    assert (usage.models_bytes, usage.leftovers_bytes) == (8, 3264)


def test_what_is_left_over_goes_and_nothing_else(store: Store) -> None:
    clutter(store)
    before = files(store)
    assert facts(prune(store, dry_run=True)) == CLUTTER == facts(leftovers(store))
    assert set(before) - set(files(store)) <= {"incoming/dead@q8_0.lock"}  # which its owner's death has opened
    assert facts(prune(store)) == CLUTTER
    assert files(store) == KEPT
    assert prune(store) == [] and prune(store, dry_run=True) == []


def test_what_somebody_is_at_stays(store: Store) -> None:
    with store.partial(SMALL) as partial, store.incoming(SMALL) as incoming:
        (partial / "a.part").write_bytes(b"abc")
        (incoming / "model.gguf").write_bytes(b"abcd")
        assert [left.in_use for left in du(store).leftovers] == [True, True]
        assert prune(store) == [] == prune(store, dry_run=True)
        assert (partial / "a.part").exists() and (incoming / "model.gguf").exists()
    assert facts(leftovers(store)) == [("partial work", "small:q4_K_M".lower(), 3, False)]


def test_nothing_goes_that_a_damaged_manifest_may_stand_for(store: Store) -> None:
    blob = add(store, MANIFEST)
    store.manifest_path(SMALL).write_text("{")
    assert prune(store) == [] and blob.exists()
    assert du(store).n_damaged == 1


def test_a_store_that_is_not_there(store: Store) -> None:
    assert du(store).models == () and prune(store) == []
    assert not store.root.exists()


def test_what_cannot_be_removed_is_not_told_as_removed(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    clutter(store)

    def fail(*_: object, **__: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("shutil.rmtree", lambda *_, **__: None)
    assert [left.kind for left in prune(store)] == ["half-written", "without a name"]
    monkeypatch.setattr("os.open", fail)
    with pytest.raises(StorageError, match="Permission denied"):
        prune(store)


def test_what_another_program_keeps_takes_nothing(store: Store, tmp_path: Path) -> None:
    theirs = tmp_path / "theirs.gguf"
    theirs.write_bytes(b"abc")
    with store.incoming(SMALL) as folder:
        (folder / "link").symlink_to(theirs)
        store.add(folder / "link", MANIFEST)
    (model,) = du(store).models
    assert (model.size_bytes, model.own_bytes, model.linked) == (3, 0, str(theirs))
    store.manifest_path(SMALL).unlink()
    assert facts(prune(store)) == [("without a name", BLOB, 0, False)]
    assert theirs.exists() and files(store) == []


def test_links_are_not_followed(store: Store, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "precious").write_bytes(b"x" * 100)
    for folder in ("partial", "incoming"):
        (store.root / folder / "work@q8_0").mkdir(parents=True)
        (store.root / folder / "work@q8_0" / "link").symlink_to(outside)
        (store.root / folder / "loop@q8_0").symlink_to(store.root / folder / "loop@q8_0")
        (store.root / folder / "link@q8_0").symlink_to(outside)
    assert sum(left.size_bytes for left in leftovers(store)) == 0
    prune(store)
    assert (outside / "precious").exists()
    assert list(store.root.glob("*/*")) == []


def test_space_that_was_reserved_counts(store: Store) -> None:
    with store.partial(SMALL) as folder:
        path = folder / "a.part"
        with path.open("wb") as file:
            reserve(file.fileno(), 4 << 20)
            file.write(b"abc")
        if path.stat().st_blocks * 512 < 4 << 20:
            pytest.skip("this disk reserves nothing")
        assert store.partials()[0].size_bytes == path.stat().st_blocks * 512


def test_what_people_and_scripts_are_told(store: Store, capsys: pytest.CaptureFixture[str]) -> None:
    clutter(store)
    (store.root / "partial" / "evil\x1b[2J\n").mkdir()
    space.show_du(du(store), as_json=False)
    out = capsys.readouterr().out
    assert "\x1b" not in out and "evil␛[2J␊" in out
    lines = [" ".join(line.split()) for line in out.splitlines()]
    assert lines[0] == "NAME SIZE WHAT"
    assert "small:q4_K_M 3 B model, one file with twin:q4_K_M" in lines
    assert "big:24b 250 B partial work, just now" in lines
    assert lines[-1] == f"3.3 kB in {store.root}; `minichat prune` frees 3.3 kB"
    space.show_du(du(store), as_json=True)
    told = json.loads(capsys.readouterr().out)
    assert (told["models_bytes"], told["leftovers_bytes"], told["n_damaged"]) == (3, 3264, 0)
    assert told["leftovers"][0].keys() == {"kind", "name", "path", "size_bytes", "in_use", "changed"}
    store.manifest_path(ModelName("twin")).write_text("{")
    dry = prune(store, dry_run=True)
    space.show_pruned(dry, dry_run=True, n_damaged=1, as_json=False)
    told = capsys.readouterr()
    assert told.out.endswith("3.3 kB would be freed; nothing was removed\n")
    assert told.err == "files without a name are kept while a manifest cannot be read: `minichat verify` tells which\n"
    space.show_pruned(prune(store), dry_run=False, n_damaged=0, as_json=True)
    assert json.loads(capsys.readouterr().out)[0]["name"] == "big:24b"
    space.show_pruned([], dry_run=False, n_damaged=0, as_json=False)
    assert capsys.readouterr() == ("", "nothing is left over\n")


def test_prune_asks_and_where_nobody_is_there_it_removes_nothing() -> None:
    store = Store.default()
    clutter(store)
    for options in ([], ["--states"], ["--json"]):
        fails(
            2, "3.3 kB would be removed, and nobody is there to ask: --yes removes it", "prune", *options, stdin=b"y\n"
        )
    assert facts(leftovers(store)) == CLUTTER
    assert minichat("prune", "--dry-run").stdout.endswith("3.3 kB would be freed; nothing was removed\n")
    for answer, code, says in (("n", 2, "nothing was removed"), ("y", 0, "3.3 kB freed")):
        assert facts(leftovers(store)) == CLUTTER
        with Tty("prune") as tty:
            tty.wait_for("Remove it, and free 3.3 kB? [y/N]")
            assert "big:24b" in tty.text() and "nothing was removed" not in tty.text()
            tty.type(f"{answer}\r")
            assert tty.end() == code
            assert says in tty.text() and tty.text().count("big:24b") == 1
    assert leftovers(store) == []
    done = minichat("prune", "--json")
    assert (done.returncode, done.stdout) == (0, "[]\n")
    clutter(store)
    assert [one["name"] for one in json.loads(minichat("prune", "--yes", "--json").stdout)] == [c[1] for c in CLUTTER]
