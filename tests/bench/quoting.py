"""Questions and answers as people and models write them: three answers that say much of the question again, two not."""

from dataclasses import dataclass

_LETTER = """\
Dear Mrs Hartmann, thank you for you're letter of the 3rd of march. We was very sorry to hear that the boiler, which our
engineer installed in your kitchen last winter, has begun to make a loud knocking noise whenever the hot water is turned
on. As you know the boiler is still under guarantee and we will of course repair it free of charge. Our engineer mr
Okafor could visit you on Tuesday the 12th or on Thursday the 14th, between eight and eleven o'clock in the morning.
Please let us know which of this dates would suit you better. If the noise gets worse before than, turn the boiler of at
the red switch on its left side, close the gas tap below it, and call our emergency number, which is printed on the
label at the front. Do not try to open the cover yourself, because their are parts behind it that stay hot for a hour
after the flame is out. We apologise for the inconvenience and hope too see you soon.
"""
_LETTER_MENDED = """\
Dear Mrs Hartmann, thank you for your letter of the 3rd of March. We were very sorry to hear that the boiler, which our
engineer installed in your kitchen last winter, has begun to make a loud knocking noise whenever the hot water is turned
on. As you know, the boiler is still under guarantee, and we will of course repair it free of charge. Our engineer Mr
Okafor could visit you on Tuesday the 12th or on Thursday the 14th, between eight and eleven o'clock in the morning.
Please let us know which of these dates would suit you better. If the noise gets worse before then, turn the boiler off
at the red switch on its left side, close the gas tap below it, and call our emergency number, which is printed on the
label at the front. Do not try to open the cover yourself, because there are parts behind it that stay hot for an hour
after the flame is out. We apologise for the inconvenience and hope to see you soon.
"""
_REPORT = """\
The council met on Monday to decide what becomes of the old ferry landing. Since the bridge was opened in 2009 nobody
has used it, and the wooden piles have begun to rot. The harbour master, Ines Calder, said that the landing "could not
be left as it is for another winter", because a storm might tear loose whole beams and drive them against the moored
boats. She put the cost of removing it at 340,000 pounds, and that of rebuilding it in concrete at nearly twice as much.
Three speakers from the rowing club asked the council to keep it. "It is the only place on this bank where a boat can be
brought to the water without a crane," said their chairwoman, Orla Finn, who offered that members would replace the
planks themselves if the council paid for the piles. A survey of 1,200 households found that 58 per cent wanted the
landing kept, 21 per cent wanted it removed, and the rest did not mind. The treasurer warned that the budget for the
harbour was already overdrawn, and that "every pound for the landing is a pound less for the sea wall". After two hours
the council voted by nine to six to have the piles examined by divers before the end of October and to decide in
November.
"""
_SUMMARY = """\
The council put off its decision about the old ferry landing. The harbour master said that the landing "could not be
left as it is for another winter", because a storm might tear loose whole beams and drive them against the moored boats.
Removing it would cost 340,000 pounds, and rebuilding it in concrete nearly twice as much. The rowing club wants to keep
it: "It is the only place on this bank where a boat can be brought to the water without a crane," said their
chairwoman, Orla Finn. In a survey of 1,200 households, 58 per cent wanted the landing kept, 21 per cent wanted it
removed, and the rest did not mind. The treasurer warned that "every pound for the landing is a pound less for the sea
wall". The council voted by nine to six to have the piles examined by divers before the end of October.
"""
_CODE = '''\
class Cache:
    """Values by their keys, the least recently used one given up when there are too many."""

    def __init__(self, capacity: int) -> None:
        if capacity < 1:
            raise ValueError("a cache needs room for at least one value")
        self._capacity = capacity
        self._values: dict[str, bytes] = {}

    def get(self, key: str) -> bytes | None:
        value = self._values.pop(key, None)
        if value is not None:
            self._values[key] = value
        return value

    def put(self, key: str, value: bytes) -> None:
        self._values.pop(key, None)
        self._values[key] = value
        while len(self._values) > self._capacity:
            oldest = next(iter(self._values))
            del self._values[oldest]
'''
_CODE_CHANGED = '''\
Give each value the moment at which it expires, and let `get` take it for missing after that:

```python
class Cache:
    """Values by their keys, the least recently used one given up when there are too many, or when it is too old."""

    def __init__(self, capacity: int, lifetime_s: float) -> None:
        if capacity < 1:
            raise ValueError("a cache needs room for at least one value")
        self._capacity = capacity
        self._lifetime_s = lifetime_s
        self._values: dict[str, tuple[float, bytes]] = {}

    def get(self, key: str) -> bytes | None:
        expires, value = self._values.pop(key, (0.0, None))
        if value is not None and time.monotonic() < expires:
            self._values[key] = expires, value
            return value
        return None

    def put(self, key: str, value: bytes) -> None:
        self._values.pop(key, None)
        self._values[key] = time.monotonic() + self._lifetime_s, value
        while len(self._values) > self._capacity:
            oldest = next(iter(self._values))
            del self._values[oldest]
```
'''
_STORY = """\
The lighthouse on Skerry Point had burned for a hundred and nineteen years when Marit came to switch it off. She climbed
with her toolbox in one hand and the letter from the ministry in the other, counting, as everybody does, and losing
count near the second window, as everybody does too. Nobody lived there now. A kettle still hung from its hook, and
somebody had drawn the outline of a whale on the plaster, low down, where only a child would have drawn. At the top the
wind made the panes hum. She set down her tools, opened the cabinet, and found behind the fuses a folded square of oiled
paper. Whoever reads this, it said in careful ink, please wait until the trawlers are home. She looked out: six lamps,
far apart, crawling across black water toward her. The order named midnight as its hour. Marit poured herself the last
of her coffee, sat upon the stairs, and for once in her working life decided that her watch must be slow.
"""
_OPINION = """\
Honestly, I would wait for the divers. Nobody knows yet how much wood is sound, so every figure in that debate is a
guess, whether it comes from people who row or from those who keep the accounts. If most of it turns out to be healthy,
volunteers plus a modest grant look like the cheapest way forward, and you keep access for small craft. Should the
foundations prove hopeless, pulling everything down soon is safer than hoping for mild weather. What troubles me more is
that flood protection and leisure are paid from one pot. Splitting these would let both questions be argued on their
merits, and it might calm tempers before the autumn vote.
"""


@dataclass(frozen=True)
class Case:
    name: str
    question: str
    answer: str


REPEATING = (
    Case(
        "an edit",
        f"Mend the spelling and grammar of this letter, and change nothing else:\n\n{_LETTER}",
        _LETTER_MENDED,
    ),
    Case("a summary with quotes", f"Sum this up, and quote what was said:\n\n{_REPORT}", _SUMMARY),
    Case("code with quotes", f"Let the values expire after some seconds:\n\n{_CODE}", _CODE_CHANGED),
)
FREE = (
    Case("a story", "Tell me a story about a lighthouse.", _STORY),
    Case("an opinion on a long text", f"What would you do?\n\n{_REPORT}", _OPINION),
)
