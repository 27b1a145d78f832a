"""config.toml, and who has a say in what is chosen."""

from __future__ import annotations

from pathlib import Path

from minichat.settings import Setting, parse_settings, resolve

FILE = Path("/home/me/config.toml")
WHOLE = """
model = "mistral-small"
[defaults]
temperature = 0.5
top-k = 5
keys = "vi"
[models."Mistral-Small"]
temperature = 0.4
ctx = 4096
[models."mistral-small:24b"]
temperature = 0.3
[personas.Coder]
model = "devstral"
temperature = 0.2
system = "You write Python."
"""
NAMES = ["mistral-small:24b-instruct-2501-q4_K_M", "mistral-small:24b", "mistral-small"]


def test_the_first_that_has_a_say_wins() -> None:
    settings = parse_settings(WHOLE, FILE)

    def temperature(*args: object, **layers: object) -> Setting:
        return resolve(settings, *args, **layers)["temperature"]  # type: ignore[arg-type]

    assert temperature(NAMES, "coder", {"temperature": 0.1}, typed={"temperature": 0}) == Setting(0, "/set")
    assert temperature(NAMES, "coder", {"temperature": 0.1}) == Setting(0.1, "command line")
    assert temperature(NAMES, "coder", {"temperature": None}) == Setting(0.2, "persona Coder")
    assert temperature(NAMES, saved={"temperature": 0.9}) == Setting(0.9, "the session")
    assert temperature(NAMES) == Setting(0.3, '[models."mistral-small:24b"]')
    assert temperature(NAMES[2:]) == Setting(0.4, '[models."Mistral-Small"]')
    assert temperature(["demo"], advised={"temperature": 0.15}) == Setting(0.5, "[defaults]")
    assert resolve(parse_settings("", FILE), advised={"temperature": 0.15})["temperature"] == Setting(
        0.15, "the catalog"
    )
    assert resolve(parse_settings("", FILE))["temperature"] == Setting(None, "")
    assert resolve(settings, NAMES)["ctx"].value == 4096
    assert settings.model_for(None) == "mistral-small" and settings.model_for("CODER") == "devstral"
