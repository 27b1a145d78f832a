"""Strings that are hard to tokenize, from a seeded generator."""

from __future__ import annotations

import random

CONTROL_NAMES = (
    "<s>", "</s>", "<unk>", "<pad>", "[INST]", "[/INST]", "[SYSTEM_PROMPT]", "[/SYSTEM_PROMPT]", "[TOOL_CALLS]",
    "[AVAILABLE_TOOLS]", "[/AVAILABLE_TOOLS]", "[TOOL_RESULTS]", "[/TOOL_RESULTS]", "[TOOL_CONTENT]", "[IMG]",
    "[IMG_BREAK]", "[IMG_END]", "[PREFIX]", "[MIDDLE]", "[SUFFIX]", "<SPECIAL_20>", "<SPECIAL_999>", "<0x0A>",
    "[ARGS]", "[CALL_ID]", "[THINK]", "[/THINK]", "[control_8]", "[REF]", "[/REF]", "[REFERENCE_DOC_3]",
)  # fmt: skip

SENTENCES = (
    "The quick brown fox jumps over the lazy dog, 1234567890 times; isn't that it's?",
    "नमस्ते, मुझे आज दिल्ली के मौसम के बारे में बताइए।",
    "আমি বাংলায় গান গাই, আমি বাংলার গান গাই।",
    "नेपालको राजधानी काठमाडौं हो र यहाँ धेरै मानिस बस्छन्।",
    "தமிழ் மொழி மிகவும் பழமையான மொழிகளில் ஒன்றாகும்.",
    "اَلْحَمْدُ لِلَّهِ رَبِّ الْعَالَمِينَ",
    "ประเทศไทยมีอากาศร้อนและมีอาหารอร่อยมาก น้ำก็ใส",
    "בְּרֵאשִׁית בָּרָא אֱלֹהִים אֵת הַשָּׁמַיִם",
    "안녕하세요, 오늘 날씨가 어때요? 저는 서울에 살아요.",
    "안녕",
    "你好，世界！今天天气怎么样？我想去北京。",
    "日本語のテキスト、カタカナとひらがな。ﾊﾝｶｸ",
    "Tiếng Việt có rất nhiều dấu: ắ ằ ẳ ẵ ặ, Nguyễn Thị Hương",
    "Tiê\u0301ng Viê\u0323t với dấu rời",
    "Привет, как дела? Ёжик; Українська мова ї є ґ",
    "Ελληνικά: Καλημέρα κόσμε, ἄνθρωπος",
    "Straße, Größe, Übermut — «élève», œuvre, ¿qué tal?, Ǆ ǅ ǆ",
    "ქართული ენა; Հայերեն; አማርኛ; ខ្មែរ; ລາວ; မြန်မာ; සිංහල; ಕನ್ನಡ; తెలుగు; മലയാളം; ગુજરાતી; ਪੰਜਾਬੀ",
    "def f(x: int) -> str:\n    if x  >  1:\n\treturn f'{x!r:>{10}}'  # ok\r\n\r\n    return \"\"\n\n\n",
    '#include <stdio.h>\nint main(void) { printf("%d\\n", 42); /* **/ return 0; } // http://a.b/c?d=e&f\n/\n//',
    "SELECT * FROM t WHERE a<>'b' AND c>=1.5e-10;",
    "👩‍👩‍👧‍👦 🇫🇷 👍🏽 🏳️‍🌈 ❤️ 😀😀",
    "e\u0301\u0302\u0303 a\u0300 \u0301x Z͑ͫ̓ͪ̂ͫ̽͏̴̙̤̞͉͚̯̞̠͍A̴̵̜̰͔ͫ͗͢L̠ͨͧͩ͘G̴̻͈͍͔̹̑͗̎̅͛́Ǫ̵̹̻̝̳͂̌̌͘",
    "\x00\x01\x1c\x1d\x1e\x1f\x7f\x80\x85\u200b\ufeff\u2028\u2029",
    "IPv6 HTMLParser iPhone McDONALD's ABCdefGHI ⅷⅧ ²³ ½ ① ٣ ५",
    "▁ ▁▁ ▁a a▁ <0x41>",
)

_ALPHABETS = (
    "abcdefghijklmnopqrstuvwxyz",
    "ABCXYZabcxyz",
    "    \t\n\r\u00a0\u2003\u3000\u0085\x0b\x0c\x1c\x1f",
    " \n",
    "0123456789²½٣५Ⅷ",
    "!\"#$%&'()*+,-./:;<=>?@[\\]^_`{|}~/",
    "éüßøñçÀÉŁżǅʰªº",
    "कखगघािीुूेैोौं्ँ़",
    "অআকখািীুে্ংঁ",
    "அகஙசாிீுூெ்",
    "ابتثَُِّْـ",
    "אבגְִֵֶָּׁ",
    "กขคะาิีึ่้๊์",
    "한국어가나다ᄒ\u1161\u11ab",
    "你好世界的是不了",
    "\u0301\u0302\u0327\u200d\ufe0f\u20e3",
    "😀👍🏽🇫🇷👩\u200d👧",
    "\x00\x01\x02\x7f\x80\x9f\ufffd\ufffe\U0010ffff\ue000",
    "/\r\n -",
)


def random_text(rng: random.Random, longest: int = 12) -> str:
    """Up to `longest` parts: runs from one alphabet, pieces of sentences, names of control tokens, any characters."""
    return "".join(_part(rng) for _ in range(rng.randint(0, longest)))


def symbols_text(rng: random.Random) -> str:
    """Texts around the symbols that SentencePiece finds in any text."""
    symbols = (
        "[REF]",
        "[/REF]",
        "[REFERENCE_DOC_1]",
        "[REFERENCE_DOC_19]",
        "[REFERENCE_DOC_20]",
        "[REFERENCE_DOC_",
        " ",
    )
    return "".join(rng.choice((rng.choice(symbols), random_text(rng, longest=2))) for _ in range(rng.randint(1, 6)))


def hostile_text(rng: random.Random) -> str:
    """Names of control tokens, whole, nested, spelled with escapes and with spaces, among a little else."""
    return "".join(_attack(rng) for _ in range(rng.randint(1, 5)))


def _attack(rng: random.Random) -> str:
    name = rng.choice(CONTROL_NAMES)
    choice = rng.random()
    if choice < 0.5:
        return name
    if choice < 0.6:  # one inside the other, for what takes the inner one away
        cut = rng.randint(1, len(name) - 1)
        return name[:cut] + rng.choice(CONTROL_NAMES) + name[cut:]
    if choice < 0.7:
        return rng.choice(
            ('"}]' + name, "\\u005b" + name[1:], '"' + name, name + "\n", "{%" + name + "%}", "\\" + name)
        )
    if choice < 0.8:
        return rng.choice(("▁", " ", "\u200b", "\ufeff", "\x00")).join((name[0], name[1:]))
    return rng.choice((" ", "\n", "x", "</", "[", "]", "INST", name.lower(), name * 3, "😀"))


def _part(rng: random.Random) -> str:
    choice = rng.random()
    if choice < 0.6:
        return "".join(rng.choices(rng.choice(_ALPHABETS), k=rng.randint(1, 8)))
    if choice < 0.7:
        return rng.choice(rng.choice(_ALPHABETS)) * rng.randint(1, 70)
    if choice < 0.85:
        sentence = rng.choice(SENTENCES)
        start = rng.randrange(len(sentence))
        return sentence[start : start + rng.randint(1, 20)]
    if choice < 0.92:
        return rng.choice(CONTROL_NAMES)
    return "".join(chr(_scalar(rng)) for _ in range(rng.randint(1, 4)))


def _scalar(rng: random.Random) -> int:
    code = rng.randrange(rng.choice((0x80, 0x3000, 0x10000, 0x110000)))
    return code if not 0xD800 <= code < 0xE000 else 0xFFFD
