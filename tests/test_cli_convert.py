"""`minichat convert` from outside: what is refused leaves one line and no file."""

from __future__ import annotations

import json
import math
import re
import resource
import shutil
import signal
import subprocess
import time
from pathlib import Path

import pytest
from checkpoints import config, random_tensors, write_checkpoint
from program import MINICHAT, fails, files, minichat, start


def test_convert_to_a_file(checkpoint: Path, tmp_path: Path, home: Path) -> None:
    done = minichat("convert", checkpoint, "-q", "Q8_0", "-o", tmp_path / "out.gguf", "--json")
    assert json.loads(done.stdout)["size_bytes"] == (tmp_path / "out.gguf").stat().st_size
    assert files(home) == []
    assert minichat("run", tmp_path / "out.gguf", "hello", "--max-tokens", "3").returncode == 0


def test_the_report_is_data(checkpoint: Path, tmp_path: Path) -> None:
    done = minichat("convert", checkpoint, "-o", tmp_path / "out.gguf", "--report", "--json")
    found = json.loads(done.stdout)
    assert (found["target"], found["architecture"], found["template"]) == ("q4_K_M", "llama", "v7-tekken")
    assert found["parameters"] == sum(math.prod(tensor["shape"]) for tensor in found["tensors"])
    bits = 8 * sum(tensor["size_bytes"] for tensor in found["tensors"])
    assert found["bits_per_weight"] == pytest.approx(bits / found["parameters"])
    assert {t["type"]: t["relative_error"] > 0 for t in found["tensors"]} == {"q4_K": True, "q6_K": True, "f32": False}


def test_the_report_for_people(checkpoint: Path) -> None:
    lines = minichat("convert", checkpoint, "-q", "q8_0", "--report").stdout.splitlines()
    assert lines[0].split() == ["TENSOR", "TYPE", "SHAPE", "SIZE", "ERROR"]
    assert any(re.fullmatch(r"token_embd\.weight +q8_0 +1280×256 +348 kB +0\.[45]\d\d%", line) for line in lines)
    assert any(re.fullmatch(r"q8_0 +30 tensors, [\d.]+ MB, error at most 0\.[45]\d\d%", line) for line in lines)
    assert any(re.fullmatch(r"in all +8\.\d\d bits per weight", line) for line in lines)
    assert lines[-1].endswith("MB")


def test_the_fine_search(checkpoint: Path, tmp_path: Path) -> None:
    """Less error than llama.cpp's in every tensor of q4_K; where it means nothing, it is refused."""
    errors = []
    for search in ("standard", "fine"):
        out = tmp_path / f"{search}.gguf"
        done = minichat("convert", checkpoint, "-o", out, "--search", search, "--report", "--json")
        errors.append(
            {t["name"]: t["relative_error"] for t in json.loads(done.stdout)["tensors"] if t["type"] == "q4_K"}
        )
        recipe = json.loads(minichat("show", out, "--json").stdout)["recipe"]
        assert recipe == ("q4_K_M" if search == "standard" else "q4_K_M, fine search")
    assert len(errors[0]) == 25
    assert all(errors[1][name] < errors[0][name] for name in errors[0])
    fails(2, "the fine search is for q4_K", "convert", checkpoint, "-q", "q8_0", "--search", "fine")
    fails(2, "unknown search 'best'", "convert", checkpoint, "--search", "best")


def test_a_licence_that_wants_to_be_told_is_told_once(checkpoint: Path, tmp_path: Path) -> None:
    (checkpoint / "README.md").write_text("---\nlicense: other\nlicense_name: mrl\n---\n# A model")
    notice = "Licensed by Mistral AI under the Mistral AI Research License"
    for extra in (["-o", str(tmp_path / "out.gguf")], ["--name", "mine"]):
        done = minichat("convert", checkpoint, *extra)
        assert done.stderr.count(notice) == 1
        assert notice not in done.stdout
    assert json.loads(minichat("show", "mine", "--json").stdout)["notice"] == notice


def damage_nothing_there(folder: Path) -> str:
    shutil.rmtree(folder)
    folder.mkdir()
    return "config.json"


def damage_missing_shard(folder: Path) -> str:
    (folder / "model-00002-of-00003.safetensors").unlink()
    return "model-00002-of-00003.safetensors"


def damage_truncated(folder: Path) -> str:
    path = folder / "model-00003-of-00003.safetensors"
    path.write_bytes(path.read_bytes()[:-1000])
    return path.name


def damage_shape(folder: Path) -> str:
    path = folder / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"intermediate_size": 512}))
    return "mlp"


def damage_nan(folder: Path) -> str:
    path = folder / "model-00001-of-00003.safetensors"
    raw = bytearray(path.read_bytes())
    raw[-2:] = b"\xc0\x7f"  # a NaN in bfloat16
    path.write_bytes(raw)
    return "NaN"


def damage_architecture(folder: Path) -> str:
    path = folder / "config.json"
    changed = json.loads(path.read_text()) | {"architectures": ["GPT9ForCausalLM"], "model_type": "gpt9"}
    path.write_text(json.dumps(changed))
    return "GPT9ForCausalLM"


@pytest.mark.parametrize(
    "damage",
    [damage_nothing_there, damage_missing_shard, damage_truncated, damage_shape, damage_nan, damage_architecture],
)
def test_bad_checkpoints(damage, checkpoint: Path, tmp_path: Path, home: Path) -> None:  # type: ignore[no-untyped-def]
    says = damage(checkpoint)
    out = tmp_path / "out"
    out.mkdir()
    (out / "model.gguf").write_bytes(b"what was there before")
    fails(3, says, "convert", checkpoint, "-o", out / "model.gguf")
    fails(3, says, "convert", checkpoint)
    fails(3, says, "run", checkpoint, "hello")
    assert files(out) == ["model.gguf"]
    assert (out / "model.gguf").read_bytes() == b"what was there before"
    assert files(home) == []


def test_the_template_may_be_named(checkpoint: Path) -> None:
    for template, shown in (("none", None), ("v3-tekken", "v3-tekken"), ("auto", "v7-tekken")):
        minichat("convert", checkpoint, "--name", "mine", "--template", template)
        assert json.loads(minichat("show", "mine", "--json").stdout)["template"] == shown
    fails(2, "--template v99: one of auto, none, v1, v2, v3, v3-tekken", "convert", checkpoint, "--template", "v99")


def test_a_template_that_cannot_be_run_is_told(checkpoint: Path) -> None:
    path = checkpoint / "tekken.json"
    content = json.loads(path.read_text())
    content["config"]["version"] = "v15"
    names = ["<unk>", "<s>", "</s>", *(f"[X{n}]" for n in range(3, 1000))]
    content["special_tokens"] = [{"rank": n, "token_str": name, "is_control": True} for n, name in enumerate(names)]
    path.write_text(json.dumps(content))
    assert "its template, v15, is unknown to `minichat run`" in minichat("convert", checkpoint).stderr


def test_a_context_that_may_be_longer_is_told(checkpoint: Path) -> None:
    """Published Ministral: the window and the context are the same number, and params.json is another file."""
    path = checkpoint / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"sliding_window": 32768}))
    assert (
        "the context is 32,768 tokens, as config.json says; the repo's params.json"
        in minichat("convert", checkpoint).stderr
    )


def test_no_such_checkpoint() -> None:
    fails(3, "no such folder", "convert", "/no/such/folder")
    fails(3, "no such folder", "convert", "./mistralai/Ministral-8B")
    fails(4, "127.0.0.1:9 cannot be reached", "convert", "mistralai/Ministral-8B")  # a repo on the hub
    fails(4, "127.0.0.1:9 cannot be reached", "run", "a/b", "hello")
    fails(3, "no such file or folder", "run", "./a/b", "hello")


def test_two_folders_of_one_name_keep_apart(checkpoint: Path, tmp_path: Path) -> None:
    """Only a name that was asked for is taken from another model, and that is told."""
    other = Path(shutil.copytree(checkpoint, tmp_path / "elsewhere" / checkpoint.name))
    first = minichat("convert", checkpoint).stdout.split()[0]
    second = minichat("convert", other).stdout.split()[0]
    assert first == "checkpoint:q4_K_M"
    assert re.fullmatch(r"checkpoint-[0-9a-f]{8}:q4_K_M", second)
    assert minichat("convert", checkpoint).stderr == ""  # again, from the same folder
    done = minichat("convert", other, "--name", "checkpoint", "-q", "q8_0")
    assert done.stderr == ""
    done = minichat("convert", other, "--name", "checkpoint:q4_K_M")
    assert done.stderr == f"checkpoint:q4_K_M is replaced: it was q4_K_M, made from {checkpoint}\n"
    fails(2, "no model name", "convert", checkpoint, "--name", "")
    fails(2, "--output is empty", "convert", checkpoint, "-o", "")


def test_a_repo_in_the_hubs_cache(checkpoint: Path, tmp_path: Path) -> None:
    """Its own folder will do, and its name is the model's."""
    repo = tmp_path / "models--mistralai--Ministral-8B-Instruct-2410"
    (repo / "refs").mkdir(parents=True)
    (repo / "refs" / "main").write_text("0a" * 20)
    shutil.copytree(checkpoint, repo / "snapshots" / ("0a" * 20))
    assert minichat("convert", repo).stdout.startswith("ministral-8b-instruct-2410:q4_K_M ")
    found = json.loads(minichat("show", "ministral-8b-instruct-2410", "--json").stdout)
    assert found["source"]["repo"] == "mistralai/Ministral-8B-Instruct-2410"


def test_no_space(checkpoint: Path, tmp_path: Path, home: Path) -> None:
    out = tmp_path / "out"
    out.mkdir()
    for extra in (["-o", str(out / "model.gguf")], []):
        done = subprocess.run(
            [*MINICHAT, "convert", str(checkpoint), *extra],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
            preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000)),
        )
        assert (done.returncode, done.stdout) == (5, "")
        assert done.stderr.count("\n") == 1
    assert files(out) == []
    assert files(home) == []


@pytest.fixture(scope="module")
def large(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkpoint that takes a second or more."""
    shape = config(layers=8, hidden=1024, inner=4096, heads=16, kv_heads=16)
    return write_checkpoint(tmp_path_factory.mktemp("checkpoints") / "large", shape, random_tensors(shape))


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 129)])
def test_a_kill_in_the_middle_of_a_conversion(number: int, code: int, large: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    out.mkdir()
    process = start("convert", large, "-o", out / "model.gguf")
    while not (parts := list(out.iterdir())) or not parts[0].stat().st_size:
        assert process.poll() is None
        time.sleep(0.005)
    process.send_signal(number)
    process.communicate(timeout=60)
    assert process.returncode == code
    assert files(out) == []
