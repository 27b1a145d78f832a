"""The models that come with minichat: checkpoints in its own folder, converted on first use.

    demo           a small one, for chats
    demo-vision    a tiny one that reads pictures, if this minichat has it

Nobody else's model gets one of these names. Standard library only.
"""

from __future__ import annotations

from pathlib import Path

DEMO = "demo"
VISION = "demo-vision"
_FOLDER = Path(__file__).parent / "demo"
_FOLDERS = {DEMO: _FOLDER / "model", VISION: _FOLDER / "vision"}
_TARGETS = {DEMO: "q4_K_M", VISION: "q8_0"}  # at which each was examined


def demos() -> list[str]:
    """The names that there are: `demo` in any case, so that a missing folder can be told of."""
    return [name for name, folder in _FOLDERS.items() if name == DEMO or (folder / "config.json").is_file()]


def is_demo(name: str) -> bool:
    """
    >>> is_demo("demo"), is_demo("mistral-small")
    (True, False)
    """
    return name in demos()


def demo_folder(name: str) -> Path:
    """Where the checkpoint of a demo is."""
    return _FOLDERS[name]


def demo_target(name: str) -> str:
    """At which quantization a demo is made where nobody says.

    >>> demo_target("demo")
    'q4_K_M'
    """
    return _TARGETS[name]
