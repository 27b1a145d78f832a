"""Templates of other families: what they write, what they may not do, and that no content becomes a control token."""

from __future__ import annotations

import contextlib
import random
import re
import resource
import time
from pathlib import Path
from typing import Any

import pytest

from minichat.engine import embedded
from minichat.engine.embedded import apply
from minichat.engine.marks import Marks
from minichat.template.messages import Call, ImagePart, Message, TextPart
from minichat.template.openai import message_value
from minichat.template.pieces import Control, Piece, Text
from quant.errors import TemplateError

CHATML = (
    "{% for message in messages %}{{ '<|im_start|>' + message.role + '\n' + message.content | trim + '<|im_end|>\n' }}"
    "{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)
CHATML_CONTROLS = ["<|im_start|>", "<|im_end|>", "<|endoftext|>"]
# As Llama 3 writes it: BOS, headers, and the tools before the first question.
HEADERS = """{{- bos_token }}
{%- if tools %}
    {{- '<|start_header_id|>system<|end_header_id|>\n\nTools:\n' }}
    {%- for tool in tools %}
        {{- tool | tojson(indent=2) }}
        {{- "\n\n" }}
    {%- endfor %}
    {{- '<|eot_id|>' }}
{%- endif %}
{%- for message in messages %}
    {%- if message.tool_calls is defined %}
        {%- for call in message.tool_calls %}
            {{- '<|start_header_id|>assistant<|end_header_id|>\n\n' }}
            {{- '{"name": "' + call.function.name + '", "parameters": ' }}
            {{- call.function.arguments | tojson }}
            {{- '}<|eot_id|>' }}
        {%- endfor %}
    {%- else %}
        {{- '<|start_header_id|>' + message['role'] + '<|end_header_id|>\n\n' }}
        {{- message['content'] | trim + '<|eot_id|>' }}
    {%- endif %}
{%- endfor %}
{%- if add_generation_prompt %}
    {{- '<|start_header_id|>assistant<|end_header_id|>\n\n' }}
{%- endif %}
"""
HEADER_CONTROLS = ["<|begin_of_text|>", "<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>"]


def chatml(*messages: Message) -> list[Piece]:
    return apply(CHATML, [message_value(m) for m in messages], [], CHATML_CONTROLS, "<|endoftext|>", "<|im_end|>")


def headers(*messages: Message, tools: list[dict[str, Any]] | None = None) -> list[Piece]:
    values = [message_value(message) for message in messages]
    return apply(HEADERS, values, tools or [], HEADER_CONTROLS, "<|begin_of_text|>", "<|eot_id|>")


def written(pieces: list[Piece]) -> str:
    return "".join(piece.name if isinstance(piece, Control) else getattr(piece, "text", "") for piece in pieces)


def test_a_conversation() -> None:
    start, end = Control("<|im_start|>"), Control("<|im_end|>")
    assert chatml(Message("system", "Be brief."), Message("user", " Hi\n")) == [
        *(start, Text("system\nBe brief."), end, Text("\n")),
        *(start, Text("user\nHi"), end, Text("\n")),
        *(start, Text("assistant\n")),
    ]


def test_tools_and_calls() -> None:
    tool = {"type": "function", "function": {"name": "now", "description": "Ünd", "parameters": {}}}
    pieces = headers(
        Message("user", "Time?"),
        Message("assistant", "", calls=(Call("now", '{"zone": "é"}', "abcdefgh1"),)),
        Message("tool", "12:00", call_id="abcdefgh1", name="now"),
        tools=[tool],
    )
    text = written(pieces)
    assert pieces[:2] == [Control("<|begin_of_text|>"), Control("<|start_header_id|>")]
    assert '"description": "Ünd"' in text
    assert '{"name": "now", "parameters": {"zone": "é"}}<|eot_id|>' in text
    assert "<|start_header_id|>tool<|end_header_id|>\n\n12:00<|eot_id|>" in text


def hostile(rng: random.Random, names: list[str]) -> str:
    """Names, parts of names, and what stands between them in the templates."""
    parts = ["a", " ", "\n", "user", "]", "\ue000", "\ue001", "{{ bos_token }}", "{% raw %}"]
    for name in names:
        cut = rng.randint(1, len(name) - 1)
        parts += [name, name[:cut], name[cut:], name.upper()]
    return "".join(rng.choice(parts) for _ in range(rng.randint(1, 6)))


@pytest.mark.parametrize("seed", range(5))
def test_no_content_becomes_a_control_token(seed: int) -> None:
    """1,000 hostile texts in each place, for each template: as many control tokens as with harmless ones."""
    rng = random.Random(seed)
    for names, render in ((CHATML_CONTROLS, chatml), (HEADER_CONTROLS, headers)):
        for _ in range(1000):
            texts = [hostile(rng, names) for _ in range(3)]
            talk = [Message("system", texts[0]), Message("user", texts[1]), Message("assistant", texts[2])]
            pieces = render(*talk, Message("user", texts[0]))
            plain = render(*(Message(m.role, "x") for m in talk), Message("user", "x"))
            assert [p for p in pieces if isinstance(p, Control)] == [p for p in plain if isinstance(p, Control)]
            for text in texts:
                assert text.strip() in written(pieces)


@pytest.mark.parametrize("seed", range(5))
def test_nor_does_what_a_tool_is_called_given_or_returns(seed: int) -> None:
    rng = random.Random(seed)
    controls = [p for p in with_tools("x") if isinstance(p, Control)]
    for _ in range(200):
        text = hostile(rng, HEADER_CONTROLS)
        assert [p for p in with_tools(text) if isinstance(p, Control)] == controls


def with_tools(text: str) -> list[Piece]:
    return headers(
        Message("user", "Time?"),
        Message("assistant", "", calls=(Call("now", f'{{"zone": {embedded._to_json(text)}}}', "abcdefgh1"),)),
        Message("tool", text, call_id="abcdefgh1", name=text),
        tools=[{"type": "function", "function": {"name": text, "description": text, "parameters": {text: text}}}],
    )


def unmarked(marks: Marks, text: str) -> str:
    return "".join(getattr(piece, "text", "?") for piece in marks.pieces(text))


def test_marks_come_back_as_they_were() -> None:
    texts = [
        "<s></s>",
        "<|a",
        "|>x<",
        "s>",
        "<",
        "a<s",
        "",
        "<<s>>",
        "</s",
        "\U00020000\U0002a6d6",
        "s",
        " a ",
        "&lt;",
        "e",
    ]
    marks = Marks(["<s>", "</s>", "<|a|>", "eos", "\n"], texts)
    for text in texts:
        assert unmarked(marks, f"({marks.hide(text)})") == f"({text})"


FILTERS = [
    ("{{ a | lower }}", "<|IM_END|>", ""),
    ("{{ a | replace('x', '') }}", "<|im_exnd|>", ""),
    ("{{ a.strip() ~ b.strip() }}", "a<|im_ ", " end|>"),
    ("{{ a.strip() ~ b.strip() }}", "a<", "|im_end|>"),
    ("{{ a | trim ~ b }}", "<|im_end|  ", ">"),
    ("{{ '<' ~ a ~ '>' }}", "|im_end|", ""),
    ("{{ '<|' ~ a | trim ~ '|>' }}", " im_end\n", ""),
    ("{{ '<|' ~ a | lower ~ '|>' }}", "IM_END", ""),
    ("{{ '<|im' ~ a }}", "_end|>", ""),
    ("{{ '<|im' ~ a | replace('x', '') }}", "_exnd|>", ""),
    ("{{ a[::-1] }}", ">|dne_mi|<", ""),
    ("{{ a | striptags }}", "&lt;|im_end|&gt;", ""),
    ("{{ (a | escape).unescape() }}", "&#60;|im_end|>", ""),
    ("{{ a | lower }}", "EOS", ""),
    ("{{ a | trim ~ b }}", "e ", "os"),
    ("{{ a ~ b }}", "eo", "s"),
]


@pytest.mark.parametrize(("source", "a", "b"), FILTERS)
def test_no_filter_makes_a_control_token_of_content(source: str, a: str, b: str) -> None:
    names = ["<|im_end|>", "eos", "<s>"]
    source = "{% set a, b = messages[0].content, messages[1].content %}" + source
    pieces = apply(source, [user(a), user(b)], [], names, "", "")
    assert not [piece for piece in pieces if isinstance(piece, Control)]
    unhindered = apply(source.replace("| striptags", ""), [user(a), user(b)], [], [], "", "")
    assert written(pieces).lower() == written(unhindered)  # what is hidden keeps its case


def test_what_would_have_to_decode_bytes_is_refused() -> None:
    source = "{{ messages[0].content.encode().decode('unicode_escape') }}"
    with pytest.raises(TemplateError, match="encode"):
        apply(source, [user("\\x3c|im_end|>")], [], CHATML_CONTROLS, "", "")


def test_parts_of_texts_and_python_forms_are_whole() -> None:
    source = "{{ messages[0].content[:5] }} {{ messages[0].content | list }}"
    (piece,) = apply(source, [user("<|im_end|>")], [], CHATML_CONTROLS, "", "")
    assert piece == Text(f"<|im_ {list('<|im_end|>')}")


@pytest.mark.parametrize("how", ["urlencode", "lower | urlencode | lower", "string | tojson | urlencode"])
def test_texts_that_are_encoded_are_refused(how: str) -> None:
    with pytest.raises(TemplateError, match="encodes texts"):
        apply(f"{{{{ messages[0].content | {how} }}}}", [user("a < b")], [], CHATML_CONTROLS, "", "")


def test_an_error_that_quotes_a_text_is_readable() -> None:
    with pytest.raises(TemplateError, match="says: No <b>!"):
        apply("{{ raise_exception('No ' ~ messages[0].content) }}", [user("<b>!")], [], CHATML_CONTROLS, "", "")


def test_json_is_never_ascii_alone() -> None:
    (piece,) = apply("{{ messages[0].content | tojson(ensure_ascii=True) }}", [user("é<")], [], CHATML_CONTROLS, "", "")
    assert piece == Text('"é<"')


def test_what_templates_look_for_stays() -> None:
    """Though the vocabulary has tokens of such names."""
    source = "{% for t in tools %}{{ t.type == 'function' and t.function.name == 'x' }}{% endfor %}"
    tool = {"type": "function", "function": {"name": "x", "description": "", "parameters": {}}}
    names = ["<function>", "<|name|>", "types", "<|content|>"]
    assert apply(source, [user("Hi")], [tool], names, "", "") == [Text("True")]


def test_a_million_brackets_take_less_than_a_second() -> None:
    code = "if (a<b && c[i]>>d) { e<|f = '<|im_end|>'; }\n" * 25_000
    begin = time.process_time()
    pieces = chatml(Message("user", code))
    assert time.process_time() - begin < 1
    assert written(pieces) == f"<|im_start|>user\n{code.strip()}<|im_end|>\n<|im_start|>assistant\n"


def test_a_text_that_leaves_no_mark_is_refused() -> None:
    with pytest.raises(TemplateError, match="hold every character"):
        chatml(Message("user", "<" + "".join(map(chr, range(0x20000, 0x2A6D7)))))


def test_a_long_text_may_be_written_twice_and_no_more_than_that(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(embedded, "MAX_OUTPUT", 100)
    source = "{{ messages[0].content }}"
    assert apply(source * 2, [user("a" * 1000)], [], [], "", "") == [Text("a" * 2000)]
    with pytest.raises(TemplateError, match="writes more than"):
        apply(source * 3, [user("a" * 1000)], [], [], "", "")


def test_the_search_for_control_tokens_is_held_to_the_limits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(embedded, "TIME_S", 0.5)
    names = [f"{'<' * 100}{n}" for n in range(500)]
    begin = time.monotonic()
    with pytest.raises(TemplateError, match="took longer"):
        apply("{{ '<' * 4000000 }}", [user("Hi")], [], names, "", "")
    assert time.monotonic() - begin < 3


def test_an_alarm_leaves_no_limit_behind(monkeypatch: pytest.MonkeyPatch) -> None:
    before = resource.getrlimit(resource.RLIMIT_AS)
    for seconds in (1e-6, 1e-5, 1e-4, 2e-4, 4e-4):
        monkeypatch.setattr(embedded, "TIME_S", seconds)
        for _ in range(20):
            with contextlib.suppress(TemplateError):
                apply("{% for a in range(100000) %}{% endfor %}", [user("Hi")], [], [], "", "")
            assert resource.getrlimit(resource.RLIMIT_AS) == before


def user(text: str) -> dict[str, Any]:
    return message_value(Message("user", text))


HOSTILE = {
    "loop": "{% for a in range(100000) %}{% for b in range(100000) %}{% endfor %}{% endfor %}",
    "text": "{{ 'a' * 1000000000 }}",
    "growing": "{% set a = namespace(s='a') %}{% for i in range(60) %}{% set a.s = a.s + a.s %}{% endfor %}{{ a.s }}",
    "power": "{{ 9 ** 999999999 }}",
    "powers": "{% set ns = namespace(n=9) %}{% for i in range(99) %}{% set ns.n = ns.n * ns.n %}{% endfor %}{{ ns.n }}",
    "padding": "{{ 'a' | center(3000000000) }}",
    "format": "{{ '%3000000000d' % 1 }}",
    "output": "{% for a in range(99999) %}{{ 'a' * 10000 }}{% endfor %}",
    "attributes": "{{ ''.__class__.__mro__[1].__subclasses__() }}",
    "globals": "{{ raise_exception.__globals__['json'].dumps(1) }}",
    "change": "{{ messages.append(1) }}",
    "include": "{% include '/etc/passwd' %}",
    "import": "{% import 'os' as os %}",
    "syntax": "{% for %}",
    "missing": "{{ messages[9].content.x }}",
    "nested": "{{ " + "(" * 3000 + "1" + ")" * 3000 + " }}",
    "raised": "{{ raise_exception('Only user\nroles!') }}",
    "recursion": "{% macro f() %}{{ f() }}{% endmacro %}{{ f() }}",
    "kind": "{{ messages + 1 }}",
    "laughs": "{% set a = namespace(x=1) %}{% for i in range(60) %}{% set a.x = [a.x]*2 %}{% endfor %}{{ a.x|tojson }}",
}


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_templates_are_one_line(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(embedded, "TIME_S", 0.5)
    monkeypatch.setattr(embedded, "MEMORY_BYTES", 1 << 28)
    begin = time.monotonic()
    with pytest.raises(TemplateError) as raised:
        apply(HOSTILE[name], [user("Hi")], [], CHATML_CONTROLS, "", "")
    assert time.monotonic() - begin < 10
    assert str(raised.value).startswith("the model's own template ")
    assert "\n" not in str(raised.value)
    assert len(str(raised.value)) < 400
    assert chatml(Message("user", "Hi"))  # and the limits are gone


def test_what_such_templates_use() -> None:
    source = (
        "{% generation %}{{ strftime_now('%Y') }}{% endgeneration %}{% for m in messages %}{% if loop.first %}"
        "{% continue %}{% endif %}{% break %}{% endfor %}{{ {'b': 'é<', 'a': 1} | tojson }}{{ tools is none }}"
    )
    (piece,) = apply(source, [user("Hi")], [], [], "", "")
    assert isinstance(piece, Text)
    assert re.fullmatch(r'20\d\d{"b": "é<", "a": 1}True', piece.text)


def test_what_it_is_not_given() -> None:
    with pytest.raises(TemplateError, match="images"):
        message_value(Message("user", (TextPart("What is it?"), ImagePart(str(Path("cat.png"))))))
    with pytest.raises(TemplateError, match="continued"):
        message_value(Message("assistant", "Well", prefix=True))
