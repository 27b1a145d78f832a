"""Checkpoints from a hub into the store: the same bytes as fetched and converted, without the weights on the disk."""

from __future__ import annotations

import contextlib
import itertools
import json
import re
import shutil
import signal
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from checkpoints import SHARDED, config, write_checkpoint
from hub_server import HubServer, Request
from program import fails, minichat, start
from pseudo_terminal import Tty
from shown import Work

from convert.pipeline import convert
from convert.provenance import find_provenance
from minichat.licences import Licensed
from minichat.making import ConvertOptions
from minichat.manifest import Manifest, ModelName
from minichat.models import Model, in_catalog, on_hub, resolve
from minichat.plan import Plan
from minichat.pull import Source, find_source, pull
from minichat.store import Store
from minichat.wanted import Wanted
from quant.errors import DataError, NetworkError, UsageError

SMALL3, MINISTRAL = "mistralai/Mistral-Small-24B-Instruct-2501", "mistralai/Ministral-8B-Instruct-2410"
OPTIONS = ConvertOptions()
RESEARCH_CARD = b"---\nlicense: other\nlicense_name: mrl\n---\nFor research.\n"


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Iterator[HubServer]:
    with HubServer() as hub:
        monkeypatch.setenv("HF_ENDPOINT", hub.url)
        yield hub


@pytest.fixture
def store(home: Path) -> Store:
    return Store(home / "minichat" / "models")


def agreed(_source: Source, _plan: Plan) -> None:
    pass


def wanted(text: str) -> Wanted:
    found = on_hub(text) or in_catalog(text)
    assert found is not None
    return found


def get(text: str, store: Store, work: Work | None = None) -> Manifest:
    return pull(wanted(text), store, work or Work(), agreed, OPTIONS).manifest


def on_disk(folder: Path) -> int:
    """Bytes of the disk that everything in a folder takes; the system's own count."""
    total = 0
    for path in folder.rglob("*"):
        with contextlib.suppress(FileNotFoundError):
            total += path.lstat().st_blocks * 512
    return total


def test_the_same_bytes_as_fetched_and_converted(hub: HubServer, store: Store, tmp_path: Path) -> None:
    """Sharded bf16 to q4_K_M, the weights three times as large as what may lie on the disk beside the result."""
    shape = config(layers=4, hidden=1024, inner=4608, heads=16, kv_heads=4)
    folder = write_checkpoint(tmp_path / "Mistral-Small-24B-Instruct-2501", shape, shards=5)
    (folder / "README.md").write_text("---\nlicense: apache-2.0\n---\n")
    hub.add(SMALL3, folder)
    weights = sum(path.stat().st_size for path in folder.glob("*.safetensors"))
    peaks, before = [0], on_disk(store.root)
    hub.after = lambda _: peaks.append(on_disk(store.root) - before)
    made = get("mistral-small", store)
    assert made.full_name == "mistral-small:24b-instruct-2501-q4_K_M"
    assert max(peaks) < made.size_bytes + 64e6
    assert weights > made.size_bytes + 64e6
    # The folder that huggingface_hub's tools would have left: what they wrote of the origin is in the file, too.
    notes = folder / ".cache" / "huggingface" / "download"
    notes.mkdir(parents=True)
    for name, file in hub.repos[SMALL3][-1].files.items():
        digest, written_s = file.sha256 if file.is_large else file.git_oid, (folder / name).stat().st_mtime
        (notes / f"{name}.metadata").write_text(f"{made.revision}\n{digest}\n{written_s + 9}\n")
    told = replace(find_provenance(folder), repo=SMALL3)
    report = convert(folder, tmp_path / "two-steps.gguf", "q4_K_M", provenance=told)
    assert made.blob == f"sha256-{report.sha256}"
    assert store.path(made).read_bytes() == report.path.read_bytes()


def test_what_the_store_writes_down(hub: HubServer, store: Store) -> None:
    commit = hub.add(SMALL3, SHARDED)
    made = get("Mistral-Small:24B-Q8_0", store)
    assert (made.name, made.tag, made.target) == ("mistral-small", "24b-instruct-2501-q8_0", "q8_0")
    assert (made.repo, made.revision, made.source) == (SMALL3, commit, f"hf:{SMALL3}")
    assert (made.licence, made.temperature, made.template) == ("apache-2.0", 0.15, "v7-tekken")
    assert resolve("mistral-small:24b-q8_0", store, Work()).manifest == made
    assert resolve(f"{SMALL3}:Q8_0", store, Work()).manifest == made
    assert resolve(f"https://huggingface.co/{SMALL3}:q8_0", store, Work()).path == store.path(made)


def test_two_commits_are_never_mixed(hub: HubServer, store: Store, tmp_path: Path) -> None:
    """An interrupted pull of one leaves nothing that gets into a pull of the next: no file that is gone, none that has
    changed at the same size."""
    folder = Path(shutil.copytree(SHARDED, tmp_path / "repo"))
    (folder / "generation_config.json").write_text('{"temperature": 0.9, "top_p": 0.3}')
    hub.add("org/model", folder)

    class Leaves(Work):
        def update(self, done_bytes: int, total_bytes: int, detail: str) -> None:
            if done_bytes > total_bytes // 2:
                raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        get("org/model:q8_0", store, Leaves())
    (folder / "generation_config.json").unlink()
    tekken = (folder / "tekken.json").read_text()
    (folder / "tekken.json").write_text(tekken.replace('"rank": 1,', '"rank":  1,').replace('"rank": 2,', '"rank":2,'))
    assert (folder / "tekken.json").stat().st_size == len(tekken.encode())
    hub.add("org/model", folder)
    assert get("org/model:q8_0", store).blob == get("org/model:q8_0", Store(tmp_path / "fresh")).blob


def test_weights_that_nobody_could_check(hub: HubServer, store: Store) -> None:
    hub.add("org/model", SHARDED)
    hub.repos["org/model"][-1].files["model-00002-of-00003.safetensors"].is_large = False
    with pytest.raises(DataError, match="nobody could check it"):
        get("org/model", store)


def test_the_same_name_of_two_organizations_at_once(hub: HubServer, store: Store, tmp_path: Path) -> None:
    """The one that waited takes another name."""
    for org, layers in (("a", 1), ("b", 2)):
        hub.add(f"{org}/m", write_checkpoint(tmp_path / org, config(layers=layers, hidden=64, inner=128)))
    waits = threading.Event()

    class Waits(Work):
        def note(self, text: str) -> None:
            waits.set()

    with store.partial(ModelName("m", "q8_0")):
        threads = [threading.Thread(target=get, args=(f"{org}/m:q8_0", store, Waits())) for org in "ab"]
        for thread in threads:
            thread.start()
        assert waits.wait(20)
        time.sleep(0.3)  # both
    for thread in threads:
        thread.join()
    assert sorted(m.repo or "" for m in store.models()) == ["a/m", "b/m"]


def test_what_is_here_is_not_fetched_again(hub: HubServer, store: Store, tmp_path: Path) -> None:
    """Unless the hub has other weights now; a new card makes no other model."""
    folder = Path(shutil.copytree(SHARDED, tmp_path / "repo"))
    hub.add(SMALL3, folder)
    first, work = get("mistral-small", store), Work()
    (folder / "README.md").write_text("---\nlicense: apache-2.0\n---\nA card.\n")
    hub.add(SMALL3, folder)
    assert get("mistral-small:24b-q4_K_M", store, work) == first
    assert work.notes == [f"{first.full_name} is here already, as it is on the hub"]
    assert [title for title in work.titles if title.startswith("fetching")] == []
    (folder / "generation_config.json").write_text('{"temperature": 0.5}')
    commit = hub.add(SMALL3, folder)
    assert get("mistral-small", store).revision == commit
    assert len(store.models()) == 1


def test_nothing_is_fetched_before_a_person_agrees(hub: HubServer, store: Store) -> None:
    hub.add(SMALL3, SHARDED)
    plans: list[Plan] = []

    def refuse(_: Source, plan: Plan) -> None:
        plans.append(plan)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        pull(wanted("mistral-small"), store, Work(), refuse, OPTIONS)
    (plan,) = plans
    sizes = {file.name: file.size_bytes for file in plan.files}
    assert sizes == {path.name: path.stat().st_size for path in SHARDED.glob("*") if path.name in sizes}
    assert {"tekken.json", "model-00001-of-00003.safetensors"} <= sizes.keys()
    assert hub.sent("tekken.json") == 0
    assert not store.root.exists()
    made = get("mistral-small", store)
    assert abs(plan.model_bytes - made.size_bytes) < 0.02 * made.size_bytes + 200_000
    assert plan.memory is not None
    assert plan.memory.total > made.size_bytes


def test_an_interrupted_pull_goes_on(hub: HubServer, store: Store, tmp_path: Path) -> None:
    """A hub that leaves for good: what has arrived is kept, told of, and used."""
    shape = config(layers=4, hidden=512, inner=2048, heads=8, kv_heads=4)
    hub.add("org/large", write_checkpoint(tmp_path / "large", shape, shards=2))
    weights = sum(path.stat().st_size for path in (tmp_path / "large").glob("*.safetensors"))
    undisturbed = get("org/large:q8_0", Store(tmp_path / "other"))
    sent = hub.sent("model-00001-of-00002.safetensors") + hub.sent("model-00002-of-00002.safetensors")

    class Leaves(Work):
        def update(self, done_bytes: int, total_bytes: int, detail: str) -> None:
            super().update(done_bytes, total_bytes, detail)
            if done_bytes > total_bytes * 0.8:
                raise KeyboardInterrupt

    leaves = Leaves()
    with pytest.raises(KeyboardInterrupt):
        get("org/large:q8_0", store, leaves)
    assert store.models() == []
    assert leaves.notes[-1] == "what has come is kept: the same command goes on from there"
    before = hub.sent("model-00001-of-00002.safetensors") + hub.sent("model-00002-of-00002.safetensors")
    plans: list[Plan] = []
    made = pull(wanted("org/large:q8_0"), store, Work(), lambda _, plan: plans.append(plan), OPTIONS).manifest
    after = hub.sent("model-00001-of-00002.safetensors") + hub.sent("model-00002-of-00002.safetensors")
    assert plans[0].fetch_bytes < weights
    assert after - before < sent / 2
    assert made.blob == undisturbed.blob
    assert store.partials() == []


@pytest.mark.parametrize("repeated", [1, 2, 100])
def test_weights_that_arrive_damaged(hub: HubServer, store: Store, tmp_path: Path, repeated: int) -> None:
    """Noticed when the file has passed, fetched again; at last given up, and nothing is listed."""
    hub.add("org/model", write_checkpoint(tmp_path / "model", config(layers=2, hidden=128, inner=256), shards=3))
    good = get("org/model:q8_0", Store(tmp_path / "other"))
    digest = hub.repos["org/model"][-1].files["model-00002-of-00003.safetensors"].sha256
    data = (tmp_path / "model" / "model-00002-of-00003.safetensors").read_bytes()
    content, middle = hub.blobs[digest], len(data) - 5000
    damaged = data[:middle] + bytes([data[middle] ^ 4]) + data[middle + 1 :]
    content.data = damaged
    fetched = itertools.count(1)

    def mend(request: Request) -> None:
        if digest not in request.path or request.host != "cdn":
            return
        asked = re.fullmatch(r"bytes=(\d+)-(\d+)", request.range or f"bytes=0-{len(data)}")
        if asked and int(asked[1]) <= middle <= int(asked[2]) and next(fetched) >= repeated:
            content.data = data

    hub.after = mend
    if repeated < 3:
        assert get("org/model:q8_0", store).blob == good.blob
    else:
        with pytest.raises(NetworkError, match="came 3 times with another sha256"):
            get("org/model:q8_0", store)
        assert store.models() == []


def test_a_revision_that_changes_in_the_middle(hub: HubServer, store: Store, tmp_path: Path) -> None:
    """All files are of the commit that was looked up; the next pull sees the new one."""
    first, second = (write_checkpoint(tmp_path / f"{n}", config(layers=n + 1, hidden=64, inner=128)) for n in (0, 1))
    hub.add("org/model", first)

    def change(request: Request) -> None:
        if "/blobs/" in request.path and len(hub.repos["org/model"]) == 1:
            hub.add("org/model", second)

    hub.after = change
    made = get("org/model", store)
    assert made.revision == hub.repos["org/model"][0].commit
    hub.after = lambda _: None
    assert get("org/model", store).revision == hub.repos["org/model"][-1].commit != made.revision


def test_weights_in_another_programs_cache_are_read_there(hub: HubServer, store: Store, home: Path) -> None:
    hub.add(SMALL3, SHARDED)
    first = get("mistral-small", store)
    name = "model-00001-of-00003.safetensors"
    digest = hub.repos[SMALL3][-1].files[name].sha256
    blobs = home / "huggingface" / "hub" / f"models--{SMALL3.replace('/', '--')}" / "blobs"
    blobs.mkdir(parents=True)
    shutil.copy(SHARDED / name, blobs / digest)
    before, other = hub.sent(name), Store(home / "other")
    assert get("mistral-small", other).blob == first.blob
    assert hub.sent(name) == before
    data = bytearray((blobs / digest).read_bytes())
    data[-1] ^= 1
    (blobs / digest).write_bytes(data)  # it lies now, and the hub is asked
    assert get("mistral-small", Store(home / "third")).blob == first.blob
    assert hub.sent(name) > before


def test_what_is_here_gets_the_name_that_is_asked_for(hub: HubServer) -> None:
    """Without a second transfer; a report needs one."""
    hub.add("org/model", SHARDED)
    assert minichat("convert", "org/model", "-q", "q8_0", "--yes").stdout.startswith("model:q8_0")
    before = hub.sent("model-00001-of-00003.safetensors")
    assert minichat("convert", "org/model:q8_0", "--name", "mine:x", "--yes").stdout.startswith("mine:x")
    assert hub.sent("model-00001-of-00003.safetensors") - before < 200_000  # the header
    assert "mine:x" in minichat("list").stdout
    assert "error at most" in minichat("convert", "org/model:q8_0", "--report", "--yes").stdout


def test_convert_knows_the_catalog(hub: HubServer) -> None:
    hub.add(SMALL3, SHARDED)
    done = minichat("convert", "mistral-small", "-q", "q8_0", "--yes")
    assert done.stdout.startswith("mistral-small:24b-instruct-2501-q8_0"), done.stderr


def test_a_repo_with_ready_files_at_another_quantization(hub: HubServer, store: Store, tmp_path: Path) -> None:
    """What is published is taken, and what is not is made of the weights beside it."""
    files: dict[str, bytes | Path] = {path.name: path for path in SHARDED.iterdir() if path.is_file()}
    convert(SHARDED, tmp_path / "x.gguf", "q8_0")
    hub.add("org/both", files | {"x-Q8_0.gguf": tmp_path / "x.gguf"})
    ready, made = get("org/both", store), get("org/both:q4_K_M", store)
    assert hub.sent("x-Q8_0.gguf") >= ready.size_bytes
    assert (ready.target, made.target) == ("q8_0", "q4_K_M")
    assert made.size_bytes < ready.size_bytes


def test_repos_that_cannot_be_converted(hub: HubServer, store: Store) -> None:
    hub.add("org/pickled", {"config.json": b"{}", "pytorch_model.bin": b"x", "tokenizer.model": b"x"})
    with pytest.raises(DataError, match="pickle"):
        get("org/pickled", store)
    assert hub.requests(part="pytorch_model") == []
    hub.add("org/empty", {"README.md": b"nothing"})
    with pytest.raises(DataError):
        get("org/empty", store)
    hub.add("org/other", {"config.json": b'{"model_type": "llama"}', "model.safetensors": b"x", "tekken.json": b"{}"})
    with pytest.raises(DataError):
        get("org/other", store)
    with pytest.raises(DataError, match="org/none"):
        get("org/none", store)
    assert not store.root.exists() or store.models() == []


def test_the_licence_comes_first(hub: HubServer, store: Store, tmp_path: Path) -> None:
    folder = write_checkpoint(tmp_path / "model", config(layers=1, hidden=64, inner=128))
    (folder / "README.md").write_bytes(RESEARCH_CARD)
    hub.add("org/research", folder)
    seen: list[Licensed] = []
    made = pull(wanted("org/research"), store, Work(), lambda s, p: seen.append(s.licensed(p.name)), OPTIONS).manifest
    assert seen[0].licence == "mrl"
    assert made.notice == "Licensed by Mistral AI under the Mistral AI Research License"
    assert made.notice in (store.root / "NOTICE").read_text()


def test_the_grid(hub: HubServer) -> None:
    from minichat.hub.transfer import Hub

    hub.add(SMALL3, SHARDED)
    with Hub() as connection:
        grid = find_source(connection, wanted("mistral-small"), OPTIONS).grid("mistral-small")
    assert list(grid.sizes) == ["q4_K_M", "q5_K_M", "q6_K", "q8_0", "fp16"]
    assert list(grid.sizes.values()) == sorted(grid.sizes.values())


# The commands.


def test_pull_and_run_in_a_script(hub: HubServer) -> None:
    hub.add(SMALL3, SHARDED)
    fails(2, "--yes fetches it", "pull", "mistral-small")
    fails(2, "--yes fetches it", "run", "mistral-small", "Hello")
    done = minichat("pull", "mistral-small:24B", "--yes")
    assert (done.returncode, done.stdout) == (0, "mistral-small:24b-instruct-2501-q4_K_M  1.4 MB\n"), done.stderr
    assert "quantized to q4_K_M as they arrive" in done.stderr
    again = minichat("pull", "mistral-small", "--json")
    assert json.loads(again.stdout)["name"] == "mistral-small:24b-instruct-2501-q4_K_M"
    answered = minichat("run", "mistral-small:24b", "Hello", "--max-tokens", "4", "--json")
    assert json.loads(answered.stdout)["stats"]["answer_tokens"] > 0
    assert answered.stderr == ""
    assert minichat("rm", "mistral-small").returncode == 0
    fails(3, "is not here yet: `minichat pull mistral-small", "show", "mistral-small")


def test_a_person_is_asked(hub: HubServer) -> None:
    hub.add(SMALL3, SHARDED)
    with Tty("run", "mistral-small") as tty:
        tty.wait_for("Fetch it? [Y/n]")
        tty.type("n\r")
        assert tty.end() == 2
        assert "was not fetched" in tty.text()
    assert "mistral-small" not in minichat("list").stdout
    with Tty("run", "mistral-small") as tty:
        tty.wait_for("Fetch it? [Y/n]")
        tty.type("\r")
        tty.prompt()
        tty.type("\x04")
        assert tty.end() == 0


def test_a_research_licence_is_asked_for_once(hub: HubServer, tmp_path: Path) -> None:
    folder = write_checkpoint(tmp_path / "model", config(layers=1, hidden=64, inner=128))
    (folder / "README.md").write_bytes(RESEARCH_CARD)
    hub.add(MINISTRAL, folder)
    fails_with_plan = minichat("pull", "ministral:8b", "--yes")
    assert fails_with_plan.returncode == 2
    assert "--accept-licence says that you accept it" in fails_with_plan.stderr
    assert hub.sent("model.safetensors") < 200_000  # the header
    assert minichat("pull", "ministral:8b", "--yes", "--accept-licence").returncode == 0
    assert minichat("run", "ministral", "Hi", "--max-tokens", "1").returncode == 0
    # A model that was made here is under the same licence, and is asked for by itself.
    other = Path(shutil.copytree(folder, tmp_path / "fine-tune"))
    assert minichat("convert", other, "-q", "q8_0").returncode == 0
    fails(2, "--accept-licence", "run", "fine-tune:q8_0", "Hi")
    assert minichat("convert", other, "-q", "q8_0", "-o", tmp_path / "file.gguf").returncode == 0
    fails(2, "--accept-licence", "run", tmp_path / "file.gguf", "Hi")
    for accepting in (["--accept-licence"], []):  # asked for once
        assert minichat("run", tmp_path / "file.gguf", "Hi", "--max-tokens", "1", *accepting).returncode == 0
    assert "allows personal" in minichat("show", "ministral", "--license").stdout


def test_gated_repos(hub: HubServer, monkeypatch: pytest.MonkeyPatch) -> None:
    hub.add(MINISTRAL, SHARDED, gated="manual")
    fails(3, f"{hub.url}/{MINISTRAL}", "pull", "ministral:8b", "--yes", "--accept-licence")
    monkeypatch.setenv("HF_TOKEN", "hf_secret")
    hub.tokens.add("hf_secret")
    fails(3, "has not been granted access", "pull", "ministral:8b", "--yes", "--accept-licence")
    hub.granted.add(("hf_secret", MINISTRAL))
    done = minichat("pull", "ministral:8b", "--yes", "--accept-licence")
    assert done.returncode == 0, done.stderr
    assert "hf_secret" not in done.stderr + done.stdout
    assert all("authorization" not in request.headers for request in hub.requests("cdn"))


def test_without_a_network(hub: HubServer, monkeypatch: pytest.MonkeyPatch) -> None:
    hub.add(SMALL3, SHARDED)
    assert minichat("pull", "mistral-small", "--yes").returncode == 0
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    fails(4, "HF_HUB_OFFLINE", "pull", "mistral-nemo", "--yes")
    assert minichat("run", "mistral-small", "Hi", "--max-tokens", "1").returncode == 0
    found = minichat("search", "nemo")
    assert found.returncode == 0
    assert "mistral-nemo:12b" in found.stdout
    assert "HF_HUB_OFFLINE" in found.stderr


def test_names_that_mean_nothing(hub: HubServer) -> None:
    fails(3, "did you mean 'mistral-small", "pull", "mistral-smal")
    fails(3, "24b-instruct-2501", "pull", "mistral-small:24b-instruct-2502")
    fails(2, "is a path", "pull", "./model.gguf")
    fails(2, "not on the hub", "pull", "https://example.org/org/repo")
    fails(2, "give one of them", "pull", "mistral-small:24b-q8_0", "-q", "q6_K")
    fails(3, "org/repo", "pull", "org/repo", "--yes")
    for command in ("pull", "run", "convert", "show", "import"):
        for name in ("x" * 5000, "a/" + "x" * 5000, "./" + "x" * 5000):
            done = minichat(command, name, stdin=b"x")
            assert done.returncode in (2, 3), done.stderr
            assert len(done.stderr) < 1100


def test_convert_takes_a_repo(hub: HubServer, tmp_path: Path) -> None:
    hub.add("org/model", SHARDED)
    fails(2, "--yes", "convert", "org/model", "-q", "q8_0")
    done = minichat("convert", "org/model", "-q", "q8_0", "--name", "mine:best", "--yes")
    assert done.stdout.startswith("mine:best  "), done.stderr
    made = minichat("convert", "org/model", "-q", "q8_0", "-o", tmp_path / "model.gguf", "--yes", "--json", "--report")
    facts = json.loads(made.stdout)
    assert facts["digest"] == json.loads(minichat("list", "--json").stdout)[0]["blob"]
    assert max(tensor["relative_error"] for tensor in facts["tensors"]) > 0


def test_ctrl_c_keeps_what_has_arrived(hub: HubServer, home: Path, tmp_path: Path) -> None:
    shape = config(layers=4, hidden=512, inner=2048, heads=8, kv_heads=4)
    hub.add("org/large", write_checkpoint(tmp_path / "large", shape))
    hub.after = lambda request: time.sleep(0.3 if request.host == "cdn" else 0)
    process = start("pull", "org/large:q8_0", "--yes")
    while hub.sent("model.safetensors") < 12 << 20:
        assert process.poll() is None, process.communicate()
        time.sleep(0.02)
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=5)
    assert process.returncode == 130, said
    assert b"what has come is kept: the same command goes on" in said
    assert "large:q8_0" in minichat("du").stdout
    assert minichat("list").stdout == ""
    assert "would be freed" in minichat("prune", "--dry-run").stdout
    fails(2, "would be removed, and nobody is there to ask: --yes removes it", "prune", stdin=b"y\n")
    assert "large:q8_0" in minichat("du").stdout
    assert minichat("prune", "--yes").stdout.endswith(" freed\n")
    assert "large" not in minichat("du").stdout


def test_a_name_of_its_own_wins_over_the_catalog(store: Store, small_gguf: Path, hub: HubServer) -> None:
    """`mistral-small:24b` may be a model that a person has named so."""
    assert minichat("import", small_gguf, "--name", "mistral-small:24b").returncode == 0
    found = resolve("mistral-small:24b", store, Work())
    assert isinstance(found, Model)
    assert found.name == "mistral-small:24b"
    assert store.find(ModelName("mistral-small", "24b")) == found.manifest
    with pytest.raises(UsageError):
        resolve("mistral-small:2 4b", store, Work())
