"""Pictures by what messages call them, read in a process of their own, and kept."""

from __future__ import annotations

import base64
import json
import os
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import pytest
from picture_files import noise, oriented, samples, saved
from PIL import Image

from minichat.engine.client import Engine
from minichat.engine.types import LoadOptions
from minichat.pictures import reader, reading, sources
from minichat.pictures.album import Album
from minichat.pictures.keeping import KeptPictures, named_in
from minichat.pictures.size import Limits
from minichat.template import pieces
from quant.errors import DataError, StorageError, TemplateError

MAIN = reader._MAIN
CAT, DOG = (saved(Image.fromarray(noise(40, 60, seed=seed)), "PNG") for seed in (1, 2))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "my cat.png").write_bytes(CAT)
    return tmp_path


def test_a_picture_is_what_it_was(folder: Path) -> None:
    with Album(folder=folder) as album:
        cat = album.add("my cat.png")
        assert (cat.name, cat.width, cat.height, cat.columns, cat.rows, cat.tokens) == ("my cat.png", 60, 40, 3, 2, 8)
        assert (cat.format, cat.bytes, cat.source) == ("PNG", len(CAT), f"picture:{cat.digest}/my cat.png")
        assert cat.pixels.stat().st_size == len(b"P6\n84 56\n255\n") + 84 * 56 * 3
        (folder / "my cat.png").write_bytes(DOG)
        dog = album.add(folder / "my cat.png")
        assert dog.key != cat.key
        assert album.picture(cat.source) == cat
        assert album.content(cat.source) == CAT
        files = cat.pixels.parent
    assert not files.exists()


def test_a_picture_is_read_once_for_one_size(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever limits that comes of."""
    with Album(folder=folder) as album:
        cat = album.add("my cat.png")
        for most in (8, 3080, None):
            album.limits = Limits(max_tokens=most)
            assert album.picture(cat.source) == cat
        album.limits = Limits(max_tokens=7)
        less = album.picture(cat.source)
        album.limits = Limits(max_tokens=6)
        assert album.picture(cat.source) == less
        album.limits = Limits(patch=14)
        assert {less.tokens, album.picture(cat.source).tokens} == {6, 18}


def test_a_folder_that_is_gone(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (folder / "here").mkdir()
    monkeypatch.chdir(folder / "here")
    (folder / "here").rmdir()
    with Album() as album:
        assert album.add(folder / "my cat.png").columns == 3
        with pytest.raises(DataError, match=r"^my cat\.png cannot be read: No such file"):
            album.add("my cat.png")


def test_what_a_killed_front_leaves_is_removed_behind_a_picture_under_way(tmp_path: Path) -> None:
    """Its answer is read by nobody."""
    folder = tmp_path / f"{reading.FOLDER_PREFIX}x"
    folder.mkdir()
    (folder / "cat").write_bytes(CAT)
    paths = {name: str(folder / name) for name in ("pixels", "thumbnail")}
    request = {"path": str(folder / "cat"), "format": "PNG", "longest": 1540, "patch": 28, "max_tokens": None, **paths}
    command = [sys.executable, "-c", "from minichat.pictures.reading import main; main()"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdin is not None and process.stdout is not None and process.stderr is not None
        process.stdout.close()
        process.stdin.write(json.dumps(request).encode() + b"\n")
        process.stdin.close()
        assert process.stderr.read() == b""
    assert not folder.exists()


def test_all_kinds_of_files(folder: Path) -> None:
    with Album() as album:
        for name, content in samples().items():
            picture = album.add(content, name)
            kind = {"jpg": "JPEG", "png": "PNG", "webp": "WEBP", "gif": "GIF"}[name.split(".")[1]]
            sides = (40, 60) if name == "turned.jpg" else (60, 40)
            assert (picture.name, picture.format, (picture.width, picture.height)) == (name, kind, sides)


def test_sources_of_messages(folder: Path) -> None:
    coded = base64.b64encode(CAT).decode()
    url = f"file://{folder}/my%20%63at.png"
    wrapped = "data:image/png;charset=x;BASE64," + "\n".join(coded[i : i + 76] for i in range(0, len(coded), 76))
    given = ["my cat.png", url, url.replace("//", "//localhost", 1), f"data:image/jpeg;base64,{coded}", wrapped, coded]
    with Album(folder=folder) as album:
        found = [album.picture(source) for source in given]
        assert len({picture.key for picture in found}) == 1
        assert [picture.source for picture in found] == given
        assert [picture.name for picture in found[3:]] == ["picture"] * 3
        (folder / "my cat.png").write_bytes(DOG)
        assert album.picture("my cat.png") == found[0]  # a conversation's picture does not change
        album.forget("my cat.png")
        assert album.picture("my cat.png").key != found[0].key


REFUSED = {
    "no.png": "no.png cannot be read: No such file or directory",
    "~nobody/no.png": "cannot be read: No such file",
    "a\0b": "cannot be read: ",
    "x" * 5000: "cannot be read: File name too long",
    ".": ". is a folder, no picture",
    "pipe": "pipe is no regular file, no picture",
    "https://example.org/a.png": "https://example.org/a.png: no picture is fetched from the network; download it",
    "HTTP:/a.png": "no picture is fetched from the network",
    "s3://bucket/a.png": "s3://bucket/a.png: no picture is fetched by s3; download it",
    "file://elsewhere/a.png": "no picture is fetched from another machine",
    "file:///no%zz": "cannot be read: No such file",
    "data:image/png,abc": "picture: a picture in a URL is data:image/png;base64,",
    "data:image/png;base64,!!": "picture: its data is no valid base64",
    "data:image/png;base64,": "picture is empty: minichat reads JPEG, PNG, WebP and GIF",
    "iVBORw0KGgo" + "A" * 90 + "é": "its data is no valid base64",
    "text.png": "text.png is no picture: minichat reads",
    "photo.heic": "photo.heic is a picture of the kind HEIC: minichat reads",
    "old.bmp": "old.bmp is of the kind BMP: minichat reads",
    "big.gif": "big.gif is too big: a picture's file may have 1 MiB",
    f"picture:{'0' * 64}/a\nb.png": "a\ufffdb.png is not kept any more: attach it again",
    "picture:../../etc/passwd": "cannot be read: No such file",
    "broken.png": "broken.png cannot be read as a picture: it is damaged: its end is missing",
}


def test_one_line_for_what_is_no_picture(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sources, "MAX_BYTES", 1 << 20)
    (folder / "text.png").write_text("no picture")
    (folder / "photo.heic").write_bytes(b"\0\0\0\x18ftypheic\0\0\0\0")
    (folder / "old.bmp").write_bytes(b"BM" + bytes(60))
    (folder / "big.gif").write_bytes(b"GIF89a" + bytes(1 << 20))
    (folder / "broken.png").write_bytes(CAT[:200])
    os.mkfifo(folder / "pipe")
    with Album(folder=folder) as album:
        for source, reason in REFUSED.items():
            for ask in (album.picture, album.add):
                with pytest.raises(DataError) as caught:
                    ask(source)
                assert reason in str(caught.value)
                assert str(caught.value).isprintable()
                assert len(str(caught.value)) < 300
            assert album.add(CAT).key  # the next is read


def test_bytes_that_are_no_picture() -> None:
    with Album() as album, pytest.raises(DataError, match="standard input is no picture: minichat reads JPEG"):
        album.add(b"Hello", "standard input")


def test_a_process_that_dies_or_hangs(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reader, "_WAIT_S", 0.3)
    with Album(folder=folder) as album:
        album._reader = reader.Reader(wait_s=0.3)
        for broken, reason in (
            ("import sys; sys.stdin.buffer.readline()", "the process that read it died of it"),
            ("raise SystemExit(1)", "the process that read it died of it"),
            ("import time; time.sleep(60)", "reading it takes too long"),
            ("import sys; sys.stdin.buffer.readline(); sys.stdout.write('[1')", "died of it"),
            ("import sys; sys.stdin.buffer.readline(); print('no JSON', flush=True); input()", "cannot be understood"),
            ("import sys; sys.stdin.buffer.readline(); print('[{}]', flush=True); input()", "cannot be understood"),
        ):
            monkeypatch.setattr(reader, "_MAIN", broken)
            with pytest.raises(DataError, match=f"my cat.png cannot be read as a picture: .*{reason}"):
                album.picture("my cat.png")
        monkeypatch.setattr(reader, "_MAIN", MAIN)
        album._reader = reader.Reader()
        assert album.picture("my cat.png").rows == 2
        process = album._reader._process
        assert process is not None
        album.picture("my cat.png")
        album.add(DOG)
        assert album._reader._process is process  # kept for the next
        process.kill()
        process.wait()
        album.limits = Limits(patch=14)
        assert album.picture("my cat.png").rows == 3


def test_an_interrupted_reading_leaves_no_answer_behind(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with Album() as album:
        album.add(CAT)
        lines = album._reader._lines

        class Interrupted:
            def get(self, timeout: float) -> bytes:
                lines.get(timeout=timeout)
                raise KeyboardInterrupt

        album._reader._lines = Interrupted()  # type: ignore[assignment]
        with pytest.raises(KeyboardInterrupt):
            album.add(DOG)
        turned = album.add(oriented(Image.new("RGB", (30, 100)), 6))
        assert (turned.columns, turned.rows) == (4, 2)


def test_an_interrupted_writing_leaves_no_half_picture(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write = Path.write_bytes

    def interrupted(path: Path, content: bytes) -> int:
        write(path, content[:100])
        raise KeyboardInterrupt

    with Album() as album:
        with monkeypatch.context() as patched:
            patched.setattr(Path, "write_bytes", interrupted)
            with pytest.raises(KeyboardInterrupt):
                album.add(CAT)
        assert album.add(CAT).rows == 2


def test_an_album_closes_while_another_thread_is_reading(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reader, "_MAIN", "import sys; sys.stdin.buffer.readline(); sys.stdin.buffer.readline()")
    album = Album()
    said: list[str] = []

    def read() -> None:
        with pytest.raises(DataError) as error:
            album.add(CAT)
        said.append(str(error.value))

    thread = threading.Thread(target=read)
    thread.start()
    while album._reader._process is None:
        time.sleep(0.01)
    begin = time.monotonic()
    album.close()
    thread.join()
    assert time.monotonic() - begin < 10  # the reader would have been waited for much longer
    assert len(said) == 1


def test_limits_are_set_anew(folder: Path) -> None:
    (folder / "wide.gif").write_bytes(saved(Image.new("P", (900, 300)), "GIF"))
    with Album(folder=folder) as album:
        whole = album.picture("wide.gif")
        album.limits = Limits(max_tokens=40)
        less = album.picture("wide.gif")
        assert whole.tokens > 300
        assert less.tokens <= 40
        assert (less.width, less.height) == (900, 300)
        album.limits = Limits()
        assert album.picture("wide.gif") == whole
        assert whole.pixels.exists()


def test_pictures_are_kept_beside_the_sessions(folder: Path) -> None:
    kept = KeptPictures.among(folder / "sessions")
    with Album(kept=kept, folder=folder) as album:
        cat = album.add("my cat.png")
        assert kept.all() == []
        album.keep(cat.source)
        album.keep(cat.source)
        album.keep("my cat.png")  # stays where it is
    (folder / "my cat.png").unlink()
    (one,) = kept.all()
    assert (one.digest, one.size_bytes, one.is_young) == (cat.digest, len(CAT), True)
    assert (kept.folder.stat().st_mode & 0o777, one.path.stat().st_mode & 0o777) == (0o700, 0o600)
    with Album(kept=kept) as album:
        assert (album.picture(cat.source).key, album.picture(cat.source).name) == (cat.key, "my cat.png")
    one.path.write_bytes(CAT[:-1] + b"?")
    with Album(kept=kept) as album, pytest.raises(DataError, match=r"what is kept of my cat\.png is damaged"):
        album.picture(cat.source)
    with Album(kept=kept) as album:
        album.keep(album.add(CAT, "my cat.png").source)  # as the error says
    with Album(kept=kept) as album:
        assert album.picture(cat.source).key == cat.key
    kept.remove([cat.digest, "no such"])
    with Album(kept=kept) as album, pytest.raises(DataError, match=r"my cat\.png is not kept any more"):
        album.picture(cat.source)
    assert named_in(f'"{cat.source}" "picture:12"'.encode()) == {cat.digest}


def test_a_folder_that_cannot_be_written(folder: Path) -> None:
    (folder / "sessions").write_bytes(b"")
    with Album(kept=KeptPictures.among(folder / "sessions")) as album:
        cat = album.add(CAT)
        with pytest.raises(StorageError, match="a picture cannot be kept in "):
            album.keep(cat.source)


def test_what_a_system_clears_away_is_made_again(folder: Path) -> None:
    with Album(kept=KeptPictures.among(folder / "sessions"), folder=folder) as album:
        cat = album.add("my cat.png")
        cat.pixels.unlink()
        again = album.picture(cat.source)
        assert (again.key, again.pixels.is_file()) == (cat.key, True)
        album.keep(cat.source)
        shutil.rmtree(again.pixels.parent)
        assert album.picture(cat.source).pixels.is_file()


def test_a_full_disk_is_no_fault_of_the_picture(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    small = "import resource, signal; resource.setrlimit(resource.RLIMIT_FSIZE, (100, 100))"
    ignored = "signal.signal(signal.SIGXFSZ, signal.SIG_IGN); resource.setrlimit = lambda *_: None"
    monkeypatch.setattr(reader, "_MAIN", f"{small}; {ignored}; {MAIN}")
    with Album(folder=folder) as album, pytest.raises(StorageError, match="pixels cannot be written: File too large"):
        album.add("my cat.png")
    monkeypatch.setattr(tempfile, "tempdir", str(folder / "no such"))
    with Album(folder=folder) as album, pytest.raises(StorageError, match="no temporary folder can be made"):
        album.add("my cat.png")


def test_several_threads(folder: Path) -> None:
    with Album(folder=folder) as album:
        found: list[str] = []
        threads = [threading.Thread(target=lambda: found.append(album.picture("my cat.png").key)) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(found) == 8
        assert len(set(found)) == 1


def test_the_engine_is_told_of_pictures(small_gguf: Path, folder: Path) -> None:
    with Engine(small_gguf, LoadOptions(vocab_only=True)) as engine, Album(folder=folder) as album:
        image = pieces.Image("my cat.png")
        with pytest.raises(TemplateError, match=r"nobody has looked at the picture 'my cat\.png'"):
            engine.tokenize([image])
        engine.pictures = album.picture
        ids, spans = engine.tokenize([pieces.Text("a"), image])
        assert spans[1:] == [("[IMG]" * 3 + "[IMG_BREAK]" + "[IMG]" * 3 + "[IMG_END]", True)]
        assert len(ids) == 9
        with pytest.raises(DataError, match=r"no\.png cannot be read"):
            engine.tokenize([pieces.Image("no.png")])
        assert engine.tokenize([pieces.Text("a")])[0] == ids[:1]


def test_what_is_left_of_a_killed_program_goes(folder: Path) -> None:
    code = (
        "import os, signal; from minichat.pictures.album import Album; album = Album();"
        "print(album.add('my cat.png').pixels.parent, flush=True); os.kill(os.getpid(), signal.SIGKILL)"
    )
    environment = {**os.environ, "PYTHONPATH": str(Path(reader.__file__).parents[2])}
    done = subprocess.run([sys.executable, "-c", code], cwd=folder, capture_output=True, text=True, env=environment)
    left = Path(done.stdout.strip())
    assert left.name.startswith("minichat-pictures-")
    deadline = time.monotonic() + 10
    while left.exists() and time.monotonic() < deadline:
        time.sleep(0.02)
    assert not left.exists()
