"""Calling tools and using what they give back: the weather tool of the model cards, in its shapes, and a few others."""

from __future__ import annotations

import json
import random
import string
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from . import words
from .memory import a_name, a_text
from .split import TEST, TRAIN, Phrasings, pick
from .turns import Calls, Results, Turn, WrongCalls

NO_WEATHER = "I do not know that: I have no tool that tells the weather."
NO_TIME = "I do not know that: I have no tool that tells the time."
WHICH_CITY = "For which city?"


@dataclass(frozen=True)
class Step:
    """What is shown to the model, and what it answers: words, or calls."""

    asked: str | Results
    answer: Turn | Calls


@dataclass(frozen=True)
class Tool:
    kind: str
    name: str
    arguments: tuple[str, ...]
    """The names of the arguments: the weather's place or city and state, then the unit, if it takes one."""
    description: str
    properties: dict[str, object]

    def json(self, rng: random.Random) -> dict[str, object]:
        parameters: dict[str, object] = {"type": "object", "properties": self.properties}
        if rng.random() < 0.9:
            parameters["required"] = list(self.arguments)
        function = {"name": self.name, "description": self.description, "parameters": parameters}
        return {"type": "function", "function": function}


Call = tuple[str, dict[str, object]]


def as_json(calls: Sequence[Call], ids: Sequence[str]) -> Calls:
    """Calls as the template writes them.

    >>> as_json([("f", {"a": 1})], ["123456789"])
    '[{"name": "f", "arguments": {"a": 1}, "id": "123456789"}]'
    """
    listed = [{"name": name, "arguments": arguments, "id": i} for (name, arguments), i in zip(calls, ids, strict=True)]
    return Calls(json.dumps(listed, ensure_ascii=False))


def an_id(rng: random.Random) -> str:
    """Nine different digits: the likeliest are then never 999999999, whose end is hard to tell."""
    return "".join(rng.sample(string.digits, 9))


def old_id(rng: random.Random) -> str:
    """As other programs write them."""
    letters = rng.choice((string.digits, string.ascii_letters + string.digits))
    return "".join(rng.choice(letters) for _ in range(9))


# The tools.

WEATHER_NAMES = ("get_current_weather",) * 7 + ("get_weather", "current_weather", "weather")
WEATHER_DESCRIPTIONS = (
    "Get the current weather", "Get the current weather", "Get the current weather in a given location",
    "Get the current weather in a given city", "Tells the weather in a city.", "Returns the current weather.",
    "The weather now, in a city", "Get the weather of a place",
)  # fmt: skip
PLACE = ("The city and state, e.g. San Francisco, CA", "The city and state, e.g. San Francisco, CA",
         "The city and state, e.g. Boston, MA", "The city", "The name of the city", "The place",
         "The city and country, e.g. Paris, France")  # fmt: skip
CITY = ("The city to find the weather for, e.g. 'San Francisco'", "The city to find the weather for", "The city",
        "The name of the city")  # fmt: skip
STATE = ("the two-letter abbreviation for the state that the city is in, e.g. 'CA' which would mean 'California'",
         "The state, two letters", "the two-letter abbreviation for the state")  # fmt: skip
FORMAT = ("The temperature unit to use. Infer this from the users location.",
          "The temperature unit to use. Infer this from the users location.",
          "The unit to fetch the temperature in", "The temperature unit", "celsius or fahrenheit",
          "The unit of the temperature")  # fmt: skip


def text_property(rng: random.Random, descriptions: Sequence[str], enum: bool = False) -> dict[str, object]:
    described: dict[str, object] = {"type": "string"}
    values = {"enum": ["celsius", "fahrenheit"]} if enum else {}
    description = {"description": rng.choice(descriptions)} if rng.random() < 0.95 else {}
    first, second = (values, description) if rng.random() < 0.7 else (description, values)
    return described | first | second


def weather_tool(rng: random.Random, shape: str = "") -> Tool:
    shape = shape or rng.choices(("format", "state", "unit", "city", "place"), (66, 14, 8, 6, 6))[0]
    properties: dict[str, object] = {}
    if shape == "state":
        properties["city"] = text_property(rng, CITY)
        properties["state"] = text_property(rng, STATE)
        properties["unit"] = text_property(rng, FORMAT, enum=True)
    elif shape == "city":
        properties["city"] = text_property(rng, CITY)
        if rng.random() < 0.6:
            properties["unit"] = text_property(rng, FORMAT, enum=True)
    else:
        properties["location"] = text_property(rng, PLACE)
        if shape != "place":
            properties["format" if shape == "format" else "unit"] = text_property(rng, FORMAT, enum=True)
    return Tool("weather", rng.choice(WEATHER_NAMES), tuple(properties), rng.choice(WEATHER_DESCRIPTIONS), properties)


OTHERS: dict[str, tuple[tuple[str, ...], tuple[str, ...], tuple[str, ...], tuple[str, ...]]] = {
    # kind: names, descriptions, names of the argument, its descriptions
    "time": (("get_current_time", "get_current_time", "get_time", "current_time"),
             ("Get the current time", "Get the current time in a city", "Tells what time it is in a city.",
              "The local time of a place"),
             ("location", "location", "city"), ("The city", "The name of the city", "The city and state")),
    "rewrite": (("rewrite",), ("Rewrite a given text for improved clarity", "Rewrites a text", "Rewrite a text",
                               "Makes a text clearer"),
                ("text",), ("The input text to rewrite", "The text", "The text to rewrite")),
}  # fmt: skip


def other_tool(rng: random.Random, kind: str) -> Tool:
    names, descriptions, arguments, described = OTHERS[kind]
    argument = rng.choice(arguments)
    what: dict[str, object] = {"type": "string"}
    if rng.random() < 0.9:
        what["description"] = rng.choice(described)
    return Tool(kind, rng.choice(names), (argument,), rng.choice(descriptions), {argument: what})


def toolbox(rng: random.Random, must: str = "", never: str = "", shape: str = "") -> list[Tool]:
    """One to three tools in any order. must, never: a kind that is, or is not, among them."""
    kinds = [kind for kind in OTHERS if kind != never]
    n = rng.choices((1, 2, 3), (62, 33, 5))[0]
    chosen = rng.sample([k for k in kinds if k != must], min(n, 2))
    if never != "weather" and must != "weather" and rng.random() < 0.7:
        chosen[0] = "weather"
    chosen = ([must] if must else []) + chosen
    chosen = chosen[:n]
    rng.shuffle(chosen)
    return [weather_tool(rng, shape) if kind == "weather" else other_tool(rng, kind) for kind in chosen]


def tools_json(rng: random.Random, tools: Sequence[Tool]) -> str:
    return json.dumps([tool.json(rng) for tool in tools], ensure_ascii=False)


# The places and units that are asked for.

CELSIUS, FAHRENHEIT = "celsius", "fahrenheit"
UNIT_WORDS = {CELSIUS: ("celsius", "Celsius", "celsius", "degrees Celsius", "°C", "C"),
              FAHRENHEIT: ("fahrenheit", "Fahrenheit", "fahrenheit", "degrees Fahrenheit", "°F", "F")}  # fmt: skip
WITH_UNIT: Phrasings = (" in {}", " in {}", ", in {}", " ({})", ", {} please", " using {}", ", {}", " measured in {}",
                        " in {}, please")  # fmt: skip
UNIT_AFTER: Phrasings = (" Use {}.", " In {} please.", " In {}.", " Tell me in {}.", " Please use {}.",
                         " I want {}.", " Give it in {}.", " Unit: {}.")  # fmt: skip


@dataclass(frozen=True)
class Place:
    city: str
    state: str = ""

    @property
    def text(self) -> str:
        return f"{self.city}, {self.state}" if self.state else self.city


def a_city(rng: random.Random, split: str, pieces: Sequence[str]) -> str:
    """A real city of the split, or for training a made-up one, so that names are copied and not recalled."""
    if split == TEST:
        return rng.choice(words.HELD_OUT_WEATHER_CITIES)
    while True:
        city = a_training_city(rng, pieces)
        if city not in words.HELD_OUT_WEATHER_CITIES and city not in words.HELD_OUT_US_CITIES:
            return city


def a_training_city(rng: random.Random, pieces: Sequence[str]) -> str:
    draw = rng.random()
    if draw < 0.2:
        return rng.choice((rng.choice(words.WEATHER_CITIES), rng.choice(words.CITIES),
                           rng.choice(list(words.CAPITALS.values()))))  # fmt: skip
    name = a_name(rng, TRAIN, pieces)
    if rng.random() < 0.12:
        name = accented(rng, name)
    if draw < 0.5:
        other = a_name(rng, TRAIN, pieces)
        name = rng.choice((f"San {name}", f"New {name}", f"{name} City", f"Port {name}", f"St. {name}", f"El {name}",
                           f"{name}-{other}", f"{name} {other}", f"Saint-{name}", f"{name} de {other}", f"Los {name}",
                           f"{name}-sur-{other}", f"Bad {name}", f"{name} Beach"))  # fmt: skip
    return name


def accented(rng: random.Random, name: str) -> str:
    """One letter of the name with an accent, where one can have it.

    >>> accented(random.Random(0), "Bxr"), accented(random.Random(0), "Ban") != "Ban"
    ('Bxr', True)
    """
    accents = {"a": "áàâäãåā", "e": "éèêëę", "i": "íîï", "o": "óôöõø", "u": "úûü", "n": "ñń", "c": "çć", "s": "šś",
               "z": "žż", "y": "ý", "l": "ł", "g": "ğ"}  # fmt: skip
    can = [i for i, letter in enumerate(name) if letter in accents]
    if not can:
        return name
    i = rng.choice(can)
    return name[:i] + rng.choice(accents[name[i]]) + name[i + 1 :]


def a_place(rng: random.Random, split: str, pieces: Sequence[str], with_state: bool | None = None) -> Place:
    if with_state if with_state is not None else rng.random() < 0.2:
        cities = words.HELD_OUT_US_CITIES if split == TEST else words.US_CITIES
        if split == TEST or rng.random() < 0.4:
            city = rng.choice(list(cities))
            return Place(city, cities[city])
        return Place(a_city(rng, TRAIN, pieces), rng.choice(words.STATES))
    return Place(a_city(rng, split, pieces))


ASK_WEATHER: Phrasings = (
    "What's the weather like today in {c}?", "What's the weather like today in {c}", "What is the weather in {c}?",
    "How is the weather in {c}?", "What's the weather in {c}?", "Tell me the weather in {c}.", "weather in {c}",
    "Weather in {c}?", "How warm is it in {c}?", "How cold is it in {c}?", "What's the temperature in {c}?",
    "What is the temperature in {c} today?", "Is it warm in {c}?", "Is it raining in {c}?", "Do I need a coat in {c}?",
    "What is the weather like in {c} right now?", "Can you tell me the weather in {c}?", "Please check the weather in "
    "{c}.", "I am travelling to {c}. What is the weather there?", "How hot is it in {c}?", "Current weather in {c}",
    "Give me the weather for {c}.", "What's it like outside in {c}?", "How many degrees is it in {c}?",
    "I'd like to know the weather in {c}.", "Will I freeze in {c}?", "Show me the weather of {c}.", "{c} weather",
    "What is the current weather in {c}?", "Could you look up the weather in {c}?", "Today's weather in {c}, please.",
    "What about the weather in {c}?", "I live in {c}. How is the weather?", "Is the sun shining in {c}?",
    "Find out how warm it is in {c}.", "Look up the temperature in {c}.", "In {c}, what is the weather like?",
    "temperature in {c}", "{c}: how is the weather?", "What weather do they have in {c}?", "Tell me how warm it is in "
    "{c}.", "What's the weather like in {c} today?", "Use the tool to get the weather in {c}.", "How's the weather in "
    "{c}?", "what's the weather like in {c}", "what is the weather like in {c}?",
)  # fmt: skip
ASK_AGAIN: Phrasings = ("And in {c}?", "And {c}?", "What about {c}?", "and in {c}", "How about {c}?", "Now {c}.",
                        "And now for {c}, please.", "The same for {c}.")  # fmt: skip
ASK_NOWHERE: Phrasings = (
    "What's the weather like?", "How is the weather?", "What is the weather today?", "Is it raining?",
    "How warm is it outside?", "What's the temperature?", "Tell me the weather.", "Will it rain today?",
    "Check the weather, please.", "How cold is it?", "Do I need an umbrella?",
)  # fmt: skip
ASK_TIME: Phrasings = (
    "What time is it in {c}?", "What's the time in {c}?", "Tell me the time in {c}.", "time in {c}", "How late is it "
    "in {c}?", "What is the local time in {c}?", "Can you tell me what time it is in {c}?", "Current time in {c}?",
    "Which time is it in {c} now?", "Please tell me the time in {c}.", "I want to know the time in {c}.",
    "Is it late in {c}? What time is it?", "What is the time in {c} right now?", "what time is it now in {c}",
)  # fmt: skip
ASK_REWRITE: Phrasings = (
    "Rewrite this: {}", "Rewrite this text: {}", "Please rewrite: {}", "Can you rewrite this: {}", "Rewrite: {}",
    "Make this text clearer: {}", "Rewrite the following text: {}", "Improve this text: {}", "Please rewrite this "
    "text: {}", "I want you to rewrite this: {}",
)  # fmt: skip


@dataclass(frozen=True)
class Question:
    """A question for a tool: the call that answers it, and what becomes of its result."""

    user: str
    call: Call
    say: Callable[[str], Turn]
    """The result -> the answer."""
    a_result: Callable[[random.Random], str]


def weather_question(
    rng: random.Random, split: str, pieces: Sequence[str], tool: Tool, frames: Phrasings = ASK_WEATHER
) -> Question:
    takes_state, takes_unit = "state" in tool.arguments, tool.arguments[-1] in ("format", "unit")
    wordings = split if rng.random() < 0.5 else TRAIN
    place = a_place(rng, split, pieces, True if takes_state else None)
    unit = rng.choice((CELSIUS, FAHRENHEIT)) if rng.random() < 0.45 else ""
    where, after = place.text, ""
    if unit:
        word = rng.choice(UNIT_WORDS[unit])
        if rng.random() < 0.75:
            where += pick(rng, WITH_UNIT, wordings).format(word)
        else:
            after = pick(rng, UNIT_AFTER, wordings).format(word)
    user = pick(rng, frames, wordings).format(c=where) + after
    if split != TEST and not place.state and rng.random() < 0.03:
        user, place = user.lower(), Place(place.city.lower())
    wanted = unit or (FAHRENHEIT if place.state else CELSIUS)
    values = [place.city, place.state] if takes_state else [place.text]
    arguments: dict[str, object] = dict(zip(tool.arguments, [*values, wanted], strict=False))
    say = weather_answer(place.city, wanted if takes_unit else "")
    return Question(user, (tool.name, arguments), say, lambda rng: weather_result(rng, wanted if takes_unit else ""))


CONDITIONS = ("sunny", "cloudy", "rainy", "windy", "foggy", "clear", "snowy", "partly cloudy", "stormy", "light rain",
              "heavy rain", "overcast", "hot", "cold", "mild", "dry", "humid", "light snow", "showers",
              "thunderstorm", "drizzle", "hail", "clear sky", "mist")  # fmt: skip
SKY = ("The sky is clear.", "It is raining.", "It is snowing.", "There is a storm.", "A warm day with some clouds.",
       "Cold and windy.", "No wind, no clouds.", "Fog in the morning, sun later.", "Some rain.")  # fmt: skip
FAILURES = ("unknown city", "no such city", "city not found", "timeout", "the service is not available", "no network",
            "connection refused", "HTTP 500", "rate limit reached", "not found", "internal error", "no data",
            "the command failed", "the command ended with exit code 1", "the command took longer than 30 seconds",
            "the user said no", "the user declined this call", "the user stopped this call",
            "the user did not allow this call", "permission denied", "invalid API key",
            "unknown location", "try again later")  # fmt: skip


def a_temperature(rng: random.Random, unit: object) -> str:
    degrees = rng.randint(10, 110) if unit == FAHRENHEIT else rng.randint(-15, 42)
    return rng.choice((f"{degrees}.0", str(degrees), f"{degrees}.{rng.randint(1, 9)}"))


def weather_result(rng: random.Random, unit: object = CELSIUS) -> str:
    """A number, JSON, words, or an error."""
    draw, degrees, sky = rng.random(), a_temperature(rng, unit), rng.choice(CONDITIONS)
    if draw < 0.36:
        return degrees
    if draw < 0.66:
        result: dict[str, object] = {rng.choice(("temperature", "temperature", "temp")): json.loads(degrees)}
        if rng.random() < 0.65:
            result[rng.choice(("unit", "unit", "format"))] = unit if isinstance(unit, str) and unit else CELSIUS
        if rng.random() < 0.7:
            result[rng.choice(("condition", "condition", "conditions", "weather", "description"))] = sky
        if rng.random() < 0.2:
            result[rng.choice(("humidity", "wind", "pressure"))] = rng.randint(1, 99)
        if rng.random() < 0.25:
            entries = list(result.items())
            rng.shuffle(entries)
            result = dict(entries)
        return json.dumps(result)
    if draw < 0.86:
        letter = "F" if unit == FAHRENHEIT else "C"
        return rng.choice((f"{sky}, {degrees} degrees", f"{degrees}°{letter}", f"{degrees} °{letter}, {sky}",
                           f"{sky.capitalize()}, {degrees}°{letter}", rng.choice(SKY), f"{degrees} degrees and {sky}",
                           sky, f"{sky} and {rng.choice(CONDITIONS)}", f"{sky.capitalize()}.",
                           f"{degrees} degrees {unit or CELSIUS}, {sky}"))  # fmt: skip
    return an_error(rng)


def an_error(rng: random.Random) -> str:
    failure = rng.choice(FAILURES)
    if rng.random() < 0.2:
        return json.dumps({"error": failure})
    return rng.choice(("Error: ", "Error: ", "Error: ", "error: ", "ERROR: ")) + failure


def error_of(result: str) -> str:
    """What an error says; "" if the result is none.

    >>> error_of("Error: unknown city"), error_of('{"error": "timeout"}'), error_of("22.0")
    ('unknown city', 'timeout', '')
    """
    if result.casefold().startswith("error: "):
        return result[len("error: ") :]
    try:
        read = json.loads(result)
    except ValueError:
        return ""
    return str(read["error"]) if isinstance(read, dict) and "error" in read else ""


def full_stop(text: str) -> str:
    return text if text.endswith((".", "!")) else f"{text}."


def weather_answer(city: str, unit: str) -> Callable[[str], Turn]:
    """-> a function that tells a result in words.

    >>> weather_answer("Paris", "celsius")("22.0").answer
    'It is 22.0 degrees Celsius in Paris.'
    >>> weather_answer("Paris", "celsius")('{"temperature": 72, "unit": "fahrenheit", "condition": "sunny"}').answer
    'It is 72 degrees Fahrenheit and sunny in Paris.'
    """

    def say(result: str) -> Turn:
        error = error_of(result)
        if error:
            answer = f"I could not get the weather in {city}: {error}."
            return Turn("tool results", "", answer, (error, city), f"Je n'ai pas la météo de {city} : {error}.")
        try:
            read = json.loads(result)
        except ValueError:
            answer = f"The weather in {city}: {full_stop(result)}"
            return Turn("tool results", "", answer, (result, city), f"La météo de {city} : {full_stop(result)}")
        if not isinstance(read, dict):
            read = {"temperature": result}
        degrees = str(next((read[key] for key in ("temperature", "temp") if key in read), ""))
        told = str(next((read[key] for key in ("unit", "format") if key in read), unit)).capitalize()
        sky = str(next((read[k] for k in ("condition", "conditions", "weather", "description") if k in read), ""))
        unit_words, sky_words = f" {told}" if told else "", f" and {sky}" if sky else ""
        answer = f"It is {degrees} degrees{unit_words}{sky_words} in {city}."
        return Turn("tool results", "", answer, (f" {degrees} degrees{unit_words}", *((sky,) if sky else ()), city),
                    f"Il fait {degrees} degrés{unit_words} à {city}.")  # fmt: skip

    return say


def other_question(rng: random.Random, split: str, pieces: Sequence[str], tool: Tool) -> Question:
    wordings = split if rng.random() < 0.5 else TRAIN
    argument = tool.arguments[0]
    if tool.kind == "time":
        place = a_place(rng, split, pieces)
        user = pick(rng, ASK_TIME, wordings).format(c=place.text)
        return Question(user, (tool.name, {argument: place.text}), time_answer(place.city), time_result)
    text = a_text(rng, split, pieces)
    user = pick(rng, ASK_REWRITE, wordings).format(text)
    return Question(user, (tool.name, {argument: text}), rewrite_answer,
                    lambda rng: rng.choice((text.capitalize() + ".", a_text(rng, TRAIN, pieces))))  # fmt: skip


def time_result(rng: random.Random) -> str:
    time = f"{rng.randint(0, 23):02}:{rng.randint(0, 59):02}"
    return rng.choice((time, time, json.dumps({"time": time}), f"{time}:{rng.randint(0, 59):02}"))


def time_answer(city: str) -> Callable[[str], Turn]:
    def say(result: str) -> Turn:
        error = error_of(result)
        if error:
            return Turn("tool results", "", f"I could not get the time in {city}: {error}.", (error, city))
        time = json.loads(result)["time"] if result.startswith("{") else result
        return Turn("tool results", "", f"It is {time} in {city}.", (time, city), f"Il est {time} à {city}.")

    return say


def rewrite_answer(result: str) -> Turn:
    error = error_of(result)
    answer = f"I could not rewrite the text: {error}." if error else result
    return Turn("tool results", "", answer, (error or result,))


COMPLAINTS = (
    "Error: {tool}: '{key}' is missing", "Error: {tool}: '{key}' is missing", "Error: {tool}: '{key}' is missing",
    "Error: {tool}: '{key}' is missing",
    "Error: the arguments do not fit {tool}: '{key}' is missing",
    "Error: the arguments do not fit the schema: '{key}' is missing",
    "Error: the arguments do not fit: '{key}' is missing",
    "Error: the arguments of {tool} are wrong: '{key}' is missing",
    "Error: '{key}' is a required property", "Error: missing argument '{key}'", "Error: '{key}' is required",
    "Error: the arguments of {tool} do not fit its schema: '{key}' is missing; call it again",
    "Error: the call was malformed: {key} is missing", "Error: {tool} needs the argument {key}",
)  # fmt: skip
WRONG_VALUES = (
    "Error: {tool}: '{key}' is {value}, which is none of 'celsius', 'fahrenheit'",
    "Error: {tool}: '{key}' must be one of 'celsius', 'fahrenheit'",
    "Error: the arguments do not fit {tool}: '{key}' must be one of celsius, fahrenheit",
    "Error: the arguments do not fit the schema: {value} is not one of ['celsius', 'fahrenheit']",
    "Error: the arguments do not fit: '{key}' must be 'celsius' or 'fahrenheit'", "Error: {value} is not a valid {key}",
    "Error: the arguments of {tool} are wrong: '{key}' is {value}",
)  # fmt: skip
NO_SUCH_TOOL = ('Error: there is no tool "{wrong}"; there are: {tool}',
                'Error: there is no tool "{wrong}"; did you mean {tool}?',
                "Error: there is no tool '{wrong}'", "Error: unknown tool '{wrong}'",
                "Error: no tool is called {wrong}",
                "Error: the tool '{wrong}' does not exist; there are: {tool}")  # fmt: skip


def spoiled(rng: random.Random, call: Call) -> tuple[Call, str]:
    """A wrong form of a call, and what is said of it."""
    name, arguments = call
    draw = rng.random()
    if draw < 0.15:
        wrong = rng.choice(("weather_now", "get_weather_today", "tool", "call", "search"))
        return (wrong, arguments), rng.choice(NO_SUCH_TOOL).format(wrong=wrong, tool=name)
    last = list(arguments)[-1]
    if draw < 0.4 and last in ("format", "unit"):
        value = rng.choice(("kelvin", "C", "F", "metric", "degrees", "Celsius", ""))
        complaint = rng.choice(WRONG_VALUES).format(tool=name, key=last, value=f"'{value}'")
        return (name, arguments | {last: value}), complaint
    key = rng.choice((last, *arguments))
    rest = {k: v for k, v in arguments.items() if k != key}
    return (name, rest), rng.choice(COMPLAINTS).format(tool=name, key=key)


def a_use(rng: random.Random, question: Question, complaint: bool = False, earlier: bool = False) -> list[Step]:
    """The question and its call, now and then a complaint and the call again, then the result and the answer."""
    shown: str | Results = question.user
    make_id = old_id if earlier and rng.random() < 0.4 else an_id
    steps = []
    if complaint:
        wrong, said = spoiled(rng, question.call)
        first = make_id(rng)
        steps.append(Step(shown, WrongCalls(as_json([wrong], [first]))))
        shown = Results(((first, said),))
    call_id = make_id(rng)
    steps.append(Step(shown, as_json([question.call], [call_id])))
    result = an_error(rng) if not earlier and rng.random() < 0.06 else question.a_result(rng)
    steps.append(Step(Results(((call_id, result),)), question.say(result)))
    return steps


def a_question(rng: random.Random, split: str, pieces: Sequence[str], tools: Sequence[Tool]) -> Question:
    weather = next((tool for tool in tools if tool.kind == "weather"), None)
    if weather and (len(tools) == 1 or rng.random() < 0.65):
        return weather_question(rng, split, pieces, weather)
    return other_question(rng, split, pieces, rng.choice([tool for tool in tools if tool.kind != "weather"]))


def without_tool(rng: random.Random, split: str, pieces: Sequence[str], kind: str = "weather") -> Turn:
    """The weather or the time asked, and no tool there for it."""
    frames, answer = (ASK_WEATHER, NO_WEATHER) if kind == "weather" else (ASK_TIME, NO_TIME)
    place = a_place(rng, split, pieces)
    user = pick(rng, frames, split if rng.random() < 0.5 else TRAIN).format(c=place.text)
    french = "Je ne sais pas : je n'ai pas d'outil pour cela."
    return Turn("not knowing", user, answer, ("no tool",), french, exact=True)
