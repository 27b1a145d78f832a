"""Models in LM Studio's folders: MODELS/PUBLISHER/REPO/FILE.gguf. It tells no hashes."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from minichat.foreign import Foreign, files_in, folders_in, is_model_file, projector_beside, real_file, real_folder

PROGRAM = "LM Studio"
_FOLDERS = ("~/.lmstudio/models", "~/.cache/lm-studio/models")
_DEPTH = 2  # of folders in a repo


def roots() -> list[Path]:
    """The folders that there are."""
    return [real for path in _FOLDERS if (real := real_folder(Path(path))) is not None]


def models() -> Iterator[Foreign]:
    """Every GGUF file there. The folders are called like the repo that it came from, but nobody has checked that."""
    for root in roots():
        for publisher in folders_in(root):
            for repo in folders_in(publisher):
                files = [path for path in files_in(repo, _DEPTH) if path.suffix.lower() == ".gguf"]
                for path in files:
                    if (real := real_file(path, root)) is None or not is_model_file(path, real[0]):
                        continue
                    name, projector = path.relative_to(root).as_posix(), projector_beside(path, files, root)
                    yield Foreign(PROGRAM, "gguf", name, path, *real, projector=projector)
