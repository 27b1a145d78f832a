"""What MODEL on the command line stands for: a GGUF file, in the end.

./mistral.gguf, /models/x      a path: anything that begins with `.`, `~` or `/`, that is there, or that ends in .gguf
demo, demo:q8_0                a model that ships with minichat (`minichat.demos`), converted on first use
mistral-small:24b-q4_K_M       a name in the store, else one of the catalog, fetched on first use
org/repo[:quant], hf:…, a link a repo on the hub, fetched on first use
my-checkpoint                  a checkpoint folder here, if no model has that name; converted on first use
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from minichat.demos import demo_folder, demo_target, demos, is_demo
from minichat.making import checkpoint_folder, converted, name_of_folder
from minichat.manifest import DEFAULT_TAG, Manifest, ModelName
from minichat.store import Store
from minichat.work import ShowWork
from quant.errors import CheckpointError, DataError, GgufError, UsageError
from quant.types import parse_target

if TYPE_CHECKING:
    from minichat.wanted import Wanted

    Fetch = Callable[[Wanted], Manifest]

_GGUF_MAGIC = b"GGUF"
_MAX_SUGGESTIONS = 3


@dataclass(frozen=True)
class Model:
    """A GGUF file and the name that a person knows it by. manifest: what the store knows; None for a file elsewhere.

    projector: the file that it reads pictures with; None for a model of text alone. lacks: why that cannot be used,
    although it belongs to the model, in a line.
    """

    name: str
    path: Path
    manifest: Manifest | None = None
    projector: Path | None = None
    lacks: str | None = None

    @property
    def reference(self) -> str:
        """What leads to the same model again, from any folder."""
        return self.name if self.manifest is not None else str(self.path.absolute())


def resolve(text: str, store: Store, show_work: ShowWork, fetch: Fetch | None = None) -> Model:
    """The model that `text` names; a checkpoint is converted first, with `show_work` showing it.

    `fetch` gets what is on the hub and not here; None: it is only told that it could be pulled.
    Raises UsageError for what can be no name, DataError for a model that does not exist, and whatever converting and
    fetching raise.
    """
    if is_path(text):
        return _from_path(expanded(text), store, show_work)
    if (wanted := on_hub(text)) is not None:
        return _stored(_from_hub(wanted, store, fetch), store)
    name = ModelName.parse(text)
    if is_demo(name.name):
        return _stored(_demo(name, store, show_work), store)
    if (found := store.find(name)) is not None:
        return _stored(found, store)
    if (wanted := in_catalog(text)) is not None:
        return _stored(_from_hub(wanted, store, fetch), store)
    if is_there(Path(text)) and Path(text).is_dir():
        return _from_path(Path(text), store, show_work)
    raise unknown(name, store)


def is_path(text: str) -> bool:
    """Whether MODEL is a path: it says so, or it is there and looks like no name."""
    if text.startswith((".", "~", "/", "\\")) or "\\" in text:
        return True
    if "://" in text:
        return False
    if "/" not in text:
        return text.lower().endswith(".gguf")
    return is_there(Path(text)) or (text.lower().endswith(".gguf") and text.count("/") != 1)


def is_there(path: Path) -> bool:
    """Whether anything is at a path, which may be one that no file can have."""
    try:
        return path.exists()
    except (OSError, ValueError):
        return False


def names_model(text: str, store: Store) -> bool:
    """Whether `text` can mean a MODEL: one that is here, a file or folder, a name of the catalog, or what has the shape
    of a path, of a repo, or of name:tag. A link that leads to no model counts: the error for it tells why.
    """
    if is_path(text) or is_there(Path(text)):
        return True
    if len(text.split()) != 1:
        return False
    from minichat.hub.address import parse_address

    try:
        if parse_address(text) is not None:
            return True
    except UsageError:
        return True
    try:
        name = ModelName.parse(text)
    except UsageError:
        return False
    if name.tag is not None or is_demo(name.name) or in_catalog(text) is not None:
        return True
    here = {m.name for m in store.models()}  # perhaps only with another tag than the one that is meant by none
    return name.name in here or store.find(name) is not None or store.manifest_path(name) in store.damaged()


def on_hub(text: str, quant: str | None = None) -> Wanted | None:
    """What MODEL means if it is an address on the hub. UsageError for one that leads nowhere."""
    if "/" not in text and not text.lower().startswith("hf:"):
        return None
    from minichat.catalog import load_catalog
    from minichat.hub.address import parse_address
    from minichat.wanted import from_address

    address = parse_address(text)
    if address is None:
        raise missing(Path(text), "file or folder")
    return from_address(address, quant, load_catalog())


def in_catalog(text: str, quant: str | None = None) -> Wanted | None:
    """What MODEL means if it is a name of the catalog."""
    from minichat.catalog import load_catalog
    from minichat.wanted import from_catalog

    return from_catalog(text, quant, load_catalog())


def stored_name(text: str, store: Store) -> ModelName:
    """The name in the store that a person means: as typed, or what the catalog makes of a short one.

    Raises UsageError for what can be no name. Whether there is a model of that name is for the store to say.
    """
    name = ModelName.parse(text)
    if store.find(name) is None and store.manifest_path(name) not in store.damaged():
        wanted = in_catalog(text)
        if wanted is not None and wanted.name is not None and store.find(wanted.name) is not None:
            return wanted.name
    return name


def unknown(name: ModelName, store: Store) -> DataError:
    """The error for a name that is neither here nor in the catalog, with what may have been meant."""
    import difflib

    from minichat.catalog import load_catalog

    here = [m.full_name for m in store.models()]
    near = [full for full in here if full.startswith(f"{name.name}:")]
    if not near:
        names = {full.partition(":")[0] for full in here}.union(demos())
        near = difflib.get_close_matches(name.name, names - {name.name}, n=1)
    near = list(dict.fromkeys([*near, *load_catalog().nearest(str(name))]))[:_MAX_SUGGESTIONS]
    meant = f" (did you mean {' or '.join(map(repr, near))}?)" if near else ""
    return DataError(f"no model {str(name)!r}{meant}; `minichat list` and `minichat search` show what there is")


def missing(path: Path, what: str) -> DataError:
    return DataError(f"{path}: no such {what}")


def _from_hub(wanted: Wanted, store: Store, fetch: Fetch | None) -> Manifest:
    from minichat.wanted import find_here

    found = find_here(store, wanted)
    if found is not None:
        return found
    if fetch is None:
        raise DataError(f"{wanted.title} is not here yet: `minichat pull {wanted.title}` fetches it")
    return fetch(wanted)


def _stored(manifest: Manifest, store: Store) -> Model:
    path = store.path(manifest)
    try:
        return Model(manifest.full_name, path, manifest, store.projector(manifest))
    except DataError as error:  # it can still be asked about texts, by whoever says so
        return Model(manifest.full_name, path, manifest, lacks=f"{error}, or use it for text alone: --mmproj none")


def _from_path(path: Path, store: Store, show_work: ShowWork) -> Model:
    try:
        is_folder = path.is_dir()
        magic = b"" if is_folder else _magic(path)
    except FileNotFoundError:
        raise missing(path, "file or folder") from None
    except OSError as error:
        raise DataError(f"{path}: cannot read it: {error.strerror}") from error
    if is_folder:
        path = checkpoint_folder(path)
        return _stored(converted(path, ModelName(name_of_folder(path)), DEFAULT_TAG, store, show_work), store)
    if magic != _GGUF_MAGIC:
        raise GgufError(f"{path}: not a GGUF file (`minichat convert` makes one from a checkpoint folder)")
    from minichat.projectors import beside

    return Model(path.name, path, projector=beside(path))


def _magic(path: Path) -> bytes:
    with path.open("rb") as file:
        return file.read(len(_GGUF_MAGIC))


def _demo(wanted: ModelName, store: Store, show_work: ShowWork) -> Manifest:
    try:
        target = parse_target(wanted.tag or demo_target(wanted.name)).name
    except UsageError as error:
        raise UsageError(f"no model '{wanted}': {error}") from error
    folder = demo_folder(wanted.name)
    if not folder.is_dir():
        raise CheckpointError(f"the demo model is missing from {folder}; install minichat again")
    return converted(folder, ModelName(wanted.name), target, store, show_work)


def expanded(text: str) -> Path:
    try:
        return Path(text).expanduser()
    except RuntimeError as error:
        raise DataError(f"{text}: {error}") from error
