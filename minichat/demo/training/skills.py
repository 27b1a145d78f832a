"""The skills without memory: minichat, small talk, sums, capitals, words of three languages, repeating, not knowing."""

from __future__ import annotations

import random
from functools import cache

from . import words
from .knowledge import ACTION_FRAMES, THING_FRAMES, TOPICS, Topic
from .split import TEST, TRAIN, Phrasings, held_out, parts, pick, plain
from .turns import Turn

UNKNOWN = "I do not know that. I am only a small demo model."
UNKNOWN_FRENCH = "Je ne sais pas. Je suis seulement un petit modèle de démonstration."
NO_FRENCH = "Je ne sais pas le dire en français."


@cache
def trained_questions(topic: Topic) -> frozenset[str]:
    """Every question about a topic that training may ask, in small letters."""
    asked = set(parts(topic.questions)[0])
    for frames, slots in ((ACTION_FRAMES, topic.actions), (THING_FRAMES, topic.things)):
        asked |= {frame.format(slot) for frame in parts(frames)[0] for slot in parts(slots)[0]}
    return frozenset(question.casefold() for question in asked)


def minichat(rng: random.Random, split: str, topic: Topic | None = None) -> Turn:
    """What minichat is and does. In the test, no question that training may ask."""
    topic = topic or rng.choice(TOPICS)
    while True:
        question = a_question(rng, split, topic)
        if split != TEST or question.casefold() not in trained_questions(topic):
            return Turn("minichat", question, topic.answer, topic.must, NO_FRENCH)


def a_question(rng: random.Random, split: str, topic: Topic) -> str:
    whole = 0 if split == TEST and parts(topic.questions)[0] == topic.questions else len(topic.questions)
    kinds = {"action": len(topic.actions) * 2, "thing": len(topic.things) * 2, "question": whole}
    kind = rng.choices(list(kinds), list(kinds.values()))[0]
    if kind == "question":
        return pick(rng, topic.questions, split)
    frames, slots = (ACTION_FRAMES, topic.actions) if kind == "action" else (THING_FRAMES, topic.things)
    # Held out: a frame, and for half of the test the words in it too.
    slot_split = split if split != TEST or rng.random() < 0.5 else TRAIN
    question = pick(rng, frames, split).format(pick(rng, slots, slot_split))
    return question[0].upper() + question[1:] if rng.random() < 0.8 else question


SMALL_TALK: tuple[tuple[Phrasings, str, str], ...] = (
    # the ways to say it, the answer, its French form
    (("Hello", "Hi", "Hey", "Hello!", "Hi!", "Hi there", "Hey there", "Good day", "Hello there!", "hey you", "Yo",
      "Greetings", "hello hello", "Hiya", "Howdy", "Hello minichat", "Hi demo", "Hello, how nice to see you",
      ("Hi again", "Hello demo!", "hey!!", "Hello, friend", "Hi friend", "Hello, you", "hi!!!", "Hey demo", "heya",
       "Hullo", "Hello my friend", "Oh, hello", "hello?", "Good to see you", "Hi, nice to see you", "Hello again!",
       "hi bot", "Hello there, model"),
      ("hello hello!", "Hello to you", "hi hi", "Hey friend", "hey there!", "Hi there, demo", "Oh hi", "Hello model",
       "Hey bot", "Well hello", "hello, bot", "Hi minichat", "Hey minichat", "Ahoy", "Hello world",
       "Hi everyone", "Hello anybody", "good afternoon", "Good afternoon!", "Hey you there", "Nice to see you")),
     "Hello! How can I help you?", "Bonjour ! Comment puis-je vous aider ?"),
    (("Good morning", "Good morning!", "Morning!", "A good morning to you", "good morning demo", "Morning, friend",
    ("Good morning to you", "good morning bot", "Top of the morning", "Good morning, how nice",
     "Good morning my friend", "Lovely morning", "a very good morning"),
      ("Good morning minichat", "good morning!!", "Good morning everyone", "Good morning, demo", "Morning!!",
       "Morning bot", "Good morning, friend", "Hello, good morning", "Hi, good morning", "A good morning",
       "Good morning again", "gm")),
     "Good morning! How can I help you?", "Bonjour ! Comment puis-je vous aider ?"),
    (("Good evening", "Good evening!", "Evening!", "A good evening to you", "Good evening, demo",
    ("good evening bot", "Evening, friend", "Good evening my friend", "A pleasant evening to you",
     "good evening everybody"),
      ("Good evening minichat", "Good evening!!", "Hello, good evening", "Hi, good evening", "Evening bot",
       "Good evening, friend", "A good evening", "Good evening to you", "evening demo")),
     "Good evening! How can I help you?", "Bonsoir ! Comment puis-je vous aider ?"),
    (("How are you?", "How are you doing?", "How is it going?", "How do you feel?", "Are you well?", "What's up?",
      "How are things?", "How's life?", "how r u", "Are you OK?", "Everything all right?", "How are you today?",
      "How do you do?", "You doing fine?", "Feeling good?",
      ("How are you feeling?", "How are you doing today?", "How are you then?", "And how are you?",
       "How do you feel today?", "hows it going", "How is your day?", "How was your day?", "Are you doing well?",
       "Are you fine?", "Are you feeling well?", "how have you been", "How goes it?", "What is up?", "wassup",
       "Is everything OK with you?", "Are you all right?"),
      ("How do things go?", "How are you, friend?", "Hey, how are you?", "Hi, how are you?", "how are you",
       "How's it going?", "How is everything?", "How are you this morning?", "You OK?", "All good?",
       "All good with you?", "Are you good?", "Is all well?", "What's new?", "How do you feel now?",
       "how do you do", "And you, how are you?", "Are you fine today?", "How's your day?")),
     "I am fine, thank you. How are you?", "Je vais bien, merci. Et vous ?"),
    (("I am fine.", "I'm fine, thanks.", "I am well.", "I'm good.", "I feel great.", "I'm doing great.", "Very well.",
      "I am happy.", "I'm fine too", "All good here.", "I am doing well, thank you",
      ("I'm fine", "I am very well, thanks", "I feel fine", "I feel good", "I'm great", "I'm happy today",
       "I am good, thank you", "Fine, thank you", "I'm well too", "Pretty good", "Not bad", "Quite well, thanks",
       "Feeling great", "I am OK", "I'm doing fine"),
      ("I'm happy", "I feel happy", "I am very happy", "I am great", "I'm really good", "I'm well, thanks",
       "I am fine, thank you", "I am fine, thanks", "I feel wonderful", "Life is good", "Good, thanks",
       "I'm good, thanks", "Very good, thanks", "Great, thank you", "Things are good", "All is well",
       "All is good", "I had a good day", "Today was great", "I feel very well")),
     "I am glad to hear that!", "J'en suis ravi !"),
    (("I am sad.", "I feel bad.", "I'm not well.", "I'm tired.", "I had a bad day.", "I feel lonely.", "I am ill.",
      "I'm having a hard day", "I feel terrible", "Today was awful.", "I am unhappy.", "I'm stressed",
      ("I feel sad", "I'm so tired", "I am very sad today", "I'm sick", "I have a headache", "I feel awful",
       "My day was bad", "It was a bad day", "I'm lonely", "I'm not feeling well", "I am upset",
       "I'm unhappy today", "I feel ill", "I'm worried", "I am exhausted"),
      ("I am so sad", "I'm sad today", "I feel very bad", "I am not well", "I don't feel well", "I do not feel good",
       "I am not feeling good", "I feel sick", "I feel tired", "I am tired today", "I am so lonely",
       "I feel alone", "I'm down", "I feel down", "It was a hard day", "My day was terrible",
       "I had a terrible day", "I am not happy", "I am sick", "I have a cold", "I'm depressed", "I am afraid",
       "I'm in pain", "My head hurts")),
     "I am sorry to hear that. I hope that it gets better soon.", "J'en suis désolé."),
    (("Thank you", "Thanks", "Thank you!", "Thanks a lot", "Thank you very much", "Many thanks", "thx", "Cheers",
      "Thanks for your help", "I thank you", "That was helpful", "Great, thanks", "Thank you so much!", "ty",
      ("thank you", "thanks!!", "Thanks, friend", "Thank you demo", "thanks a bunch", "thanks so much",
       "Thanks, that helped", "Thank you for the answer", "I am grateful", "Very kind, thank you",
       "thank you kindly", "Thanks for that", "That helps, thanks", "Thank you, bot", "a thousand thanks",
       "Perfect, thank you"),
      ("Thank you a lot", "Thank you very much!", "thanks a lot!", "Big thanks", "Thanks, bot", "OK thanks",
       "OK, thank you", "Good, thanks for that", "Thanks, this helps", "That was very helpful", "You helped me",
       "That was useful, thanks", "Thanks for the help", "Thank you for your help", "Thank you for helping me",
       "I am thankful", "Cool, thanks", "thank u", "tysm", "Super, thanks", "Thank you, friend")),
     "You are welcome!", "De rien !"),
    (("Bye", "Goodbye", "Bye!", "See you", "See you later", "Bye bye", "Farewell", "I have to go", "I'm leaving now",
      "Good bye!", "Until tomorrow", "See you soon", "I must go now.", "cya", "Take care",
      ("bye!!", "OK bye", "Goodbye, friend", "Bye, demo", "bye for now", "See you tomorrow", "See you next time",
       "So long", "I am going now", "I have to leave", "I need to go", "I'm off", "Have a nice day, bye",
       "Goodbye then", "good bye my friend", "Talk to you later", "Until next time", "That is all, bye"),
      ("Goodbye!", "Goodbye demo", "Goodbye, minichat", "bye bye!", "Bye, bot", "Bye then", "OK, goodbye",
       "See you around", "See you again", "see ya", "I am leaving", "I'm going", "I am off now", "I go now",
       "Time to go", "It's time to go", "I have to go now", "I must leave", "Have a nice day",
       "Have a good day!", "Ciao", "Later!", "Talk to you soon", "Until later")),
     "Goodbye! Type `/bye` to leave the chat.", "Au revoir !"),
    (("Good night", "Good night!", "Sleep well", "I'm going to bed", "I am going to sleep now.", "Night night",
    ("Good night, demo", "good night bot", "Good night my friend", "I go to sleep now", "Have a good night",
     "I want to sleep", "Time for bed", "Sleep tight", "I'm going to sleep", "a good night to you"),
      ("Good night minichat", "good night!!", "Have a good sleep", "I am going to bed", "I go to bed now",
       "I am tired and go to bed", "Sleep well, demo", "Bed time", "It's time for bed", "I will sleep now",
       "Nighty night", "I need to sleep")),
     "Good night! Sleep well.", "Bonne nuit !"),
    (("Tell me a joke", "Do you know a joke?", "Make me laugh", "Say something funny", "A joke, please", "joke",
      "Can you tell a joke?", "I want to hear a joke", "Got any jokes?", "Tell me something funny", "Entertain me",
      "Do you know any jokes?", "Another joke please",
      ("Tell me another joke", "One more joke", "Tell a joke", "give me a joke", "Please tell me a joke",
       "Joke please", "I need a joke", "Can you be funny?", "Be funny", "Let me hear a joke",
       "Know any good jokes?", "Do you have a joke for me?", "Something funny please", "Tell us a joke"),
      ("Do you have a joke?", "Do you have any jokes?", "Do you have jokes?", "Do you know a good joke?",
       "I would like a joke", "I want a joke", "Tell me a good joke", "Tell me a funny joke",
       "Tell me one more joke", "Please make me laugh", "Can you make me laugh?", "Say a joke", "A joke!",
       "Let's have a joke", "Could you tell me a joke?", "Something to laugh about, please", "make a joke",
       "tell me a joke please")),
     "Why did the model cross the road? To get to the other token.",
     "Pourquoi le modèle a-t-il traversé la route ? Pour trouver un autre mot."),
    (("You are great", "Well done", "Good job", "Nice", "You're clever", "I like you", "That is great", "Awesome",
      "Very good", "Excellent", "You are nice", "Great answer", "I love you", "You are cool", "Good bot", "wow",
      ("You are good", "You're great", "You are very clever", "You are smart, well done", "good work", "Great job",
       "I like that", "Nice answer", "Very nice", "Perfect", "That was good", "You are wonderful",
       "You're the best", "I like your answers", "Fantastic", "Brilliant", "You are funny", "so cool"),
      ("You are amazing", "You're amazing", "You're awesome", "You are awesome", "You are the best",
       "You are very good", "You're good", "You're nice", "You are so nice", "You are smart", "You're smart",
       "You are funny", "That's great", "That's good", "That is good", "That was great", "That's cool", "cool",
       "Super", "Good answer", "Excellent answer", "I love that", "Amazing", "Impressive", "You did well",
       "You are a good bot", "I like you a lot", "I love you, bot")),
     "Thank you, that is kind of you!", "Merci, c'est gentil !"),
    (("You are stupid", "That is wrong", "You're bad", "That's not right", "Wrong", "I don't like you", "Bad bot",
      "You are useless", "This is nonsense", "You are dumb", "Bad answer", "That makes no sense", "I hate you",
      ("That's wrong", "You are wrong", "That is not true", "This is wrong", "Not correct", "You're stupid",
       "You are a bad bot", "You're useless", "You are so dumb", "Your answer is wrong", "That is incorrect",
       "This makes no sense", "That was a bad answer", "Nonsense", "No, that is wrong", "You know nothing",
       "You are terrible"),
      ("That is false", "That's false", "This is not right", "This is not true", "It is wrong", "You're wrong",
       "That was wrong", "Your answer is not right", "Your answer is bad", "You made a mistake", "You are bad",
       "You are not smart", "You are not helpful", "You're dumb", "You are an idiot", "What nonsense",
       "That's nonsense", "This is bad", "I don't believe you", "Not true", "No, wrong", "wrong!", "Incorrect",
       "You suck")),
     "I am sorry. I am only a small demo model and make mistakes.", "Je suis désolé."),
    (("OK", "Okay", "Ok.", "I see", "Alright", "Fine", "Sure", "Got it", "Understood", "All right then", "hm", "aha",
      "I understand", "Yes", "yep", "right",
      ("okay then", "OK good", "k", "Very well then", "I see, OK", "yes please", "Yeah", "okay!", "Makes sense",
       "That makes sense", "Good to know", "Ah, I see", "oh ok", "Sounds good", "Noted", "true", "Indeed", "well ok"),
      ("OK then", "Ok, good", "OK!", "okay thanks, I see", "Alright then", "Yes, OK", "Yes!", "Sure!", "Of course",
       "I see.", "I got it", "I get it", "Ah", "Aha!", "Ah OK", "Oh, I see", "Now I understand", "That's clear",
       "Clear", "Right then", "Fine then", "Fine by me", "If you say so", "Good, I see")),
     "Good. What else can I do for you?", "Bien. Que puis-je faire d'autre ?"),
    (("I am bored", "I'm bored", "What should I do?", "I have nothing to do", "So boring", "What shall we do?",
      "What can we talk about?", "Let's talk", "Talk to me", "Let's chat", "Say something",
      ("I'm so bored", "Give me something to do", "I do not know what to do", "Let us talk", "Let us chat",
       "Talk with me", "Tell me something", "What do we do now?", "What now?", "What should we talk about?",
       "What can I do now?", "Suggest something", "Any ideas?"),
      ("What do we do?", "What should we do?", "I don't know what to do", "I do not know what to ask",
       "I don't know what to ask you", "What shall I ask?", "I am so bored", "Nothing to do", "This is boring",
       "I'm bored to death", "Chat with me", "Let's have a chat", "Please talk to me", "Say anything",
       "Tell me anything", "Talk!", "Give me an idea", "What can we do?", "Any suggestions?")),
     "Ask me for a capital, a small sum, or how minichat works.", "Posez-moi une question."),
    (("Nice to meet you", "Pleased to meet you", "It's nice to meet you", "Glad to meet you", "Good to meet you",
    ("Nice meeting you", "Happy to meet you", "Lovely to meet you", "It is a pleasure to meet you",
     "I am pleased to meet you", "nice to meet you, demo", "So nice to meet you"),
      ("Nice to meet you!", "Great to meet you", "It is nice to meet you", "It's good to meet you",
       "It's a pleasure to meet you", "A pleasure to meet you", "Glad to meet you, demo",
       "I'm happy to meet you", "I am glad to meet you", "Delighted to meet you")),
     "Nice to meet you too!", "Enchanté !"),
    (("Happy birthday!", "It is my birthday", "Today is my birthday", "I have my birthday today", "It's my birthday!",
    ("I turn forty today, it is my birthday", "My birthday is today", "today's my birthday",
     "It's my birthday today", "I am celebrating my birthday", "Birthday today!", "It is my birthday today"),
      ("I have birthday today", "I am having my birthday today", "It's my birthday", "My birthday!",
       "Today I have my birthday", "It is my birthday, hooray", "I'm one year older today",
       "I celebrate my birthday today", "My birthday is now")),
     "Happy birthday!", "Joyeux anniversaire !"),
    (("Are you there?", "Anybody there?", "Is anyone there?", "Are you listening?", "Can you hear me?", "You there?",
      "ping", "test", "Is this working?", "Does this work?", "Testing", "still there?",
      ("hello, are you there?", "Are you still there?", "anyone there?", "Is somebody there?", "Do you hear me?",
       "Do you read me?", "are you awake?", "Are you working?", "is this on?", "this is a test", "just testing",
       "test test", "Can you read this?"),
      ("Are you here?", "Hello? Are you there?", "Are you online?", "Are you on?", "Can you see this?",
       "Can you hear this?", "Can you read me?", "Are you alive and well?", "Do you work?", "Is this thing on?",
       "Does it work?", "Is anybody there?", "Is anyone here?", "you here?", "one two test", "Test, test",
       "testing 1 2 3", "Do you listen?")),
     "Yes, I am here.", "Oui, je suis là."),
    (("Do you speak French?", "Do you speak German?", "Do you speak Spanish?", "Which languages do you speak?",
      "What languages do you know?", "Can you speak French?", "Can you speak other languages?", "Do you know German?",
      ("Do you understand French?", "Do you understand Spanish?", "Can you speak German?", "Can you speak Spanish?",
       "Do you know Spanish?", "Do you know French?", "What languages can you speak?",
       "Which languages can you speak?", "In which languages can we talk?", "Do you speak English?",
       "Are you good at languages?", "Do you speak other languages?"),
      ("Can you talk in German?", "Can you talk French?", "Do you talk Spanish?", "Is English your language?",
       "What language do you speak?", "Which language do you speak?", "Which languages do you know?",
       "Do you know languages?", "Do you know English?", "Can you understand French?",
       "Can you understand German?", "Do you understand German?", "Are you able to speak French?",
       "Tell me which languages you speak.", "How many languages do you speak?")),
     "I speak English and know a few words of French, German and Spanish.", "Je parle un peu français."),
    (("Who wins, cats or dogs?", "Do you like cats?", "Do you like dogs?", "Do you like music?", "What do you like?",
      "What is your favourite colour?", "What is your favorite food?", "Do you have hobbies?", "Do you have feelings?",
      "Do you like me?", "What is your favourite animal?", "Are you happy?", "Do you dream?", "Do you get tired?",
      ("Do you like pizza?", "Do you like me at all?", "Do you love me?", "What is your favourite food?",
       "What's your favorite colour?", "What is your hobby?", "What music do you like?",
       "Do you have a favourite colour?", "Do you feel anything?", "Can you feel pain?", "Are you sad?",
       "Do you sleep?", "Do you have a girlfriend?", "Do you eat?", "Do you like football?",
       "Do you like your job?", "Have you got feelings?", "Which animal do you like?"),
      ("What is your favourite music?", "What is your favorite animal?", "What's your favourite food?",
       "What's your favourite colour?", "What do you like most?", "Do you like food?", "Do you like birds?",
       "Do you like books?", "Do you like films?", "Do you like people?", "Do you like cake?",
       "Do you like it here?", "Do you hate me?", "Do you have friends?", "Do you have a family?",
       "Can you feel?", "Can you love?", "Are you in love?", "Are you bored?", "Are you tired?",
       "Are you angry?", "Are you lonely?", "Do you feel lonely?", "Are you hungry?", "Cats or dogs?")),
     "I am a program and have no feelings, but I like to help.", "Je suis un programme."),
    (("How old are you?", "What is your age?", "When were you born?", "When is your birthday?", "Are you old?",
      "Are you young?", "Where do you live?", "Where are you?", "Where is your home?",
      ("What age are you?", "how old r u", "How old are you now?", "Tell me your age", "When did you come to life?",
       "Where do you live now?", "Where are you located?", "In which place do you live?", "Where is your house?",
       "What is your address?", "Which country do you live in?", "Are you older than me?"),
      ("Tell me how old you are.", "How many years old are you?", "What's your age?", "Your age?",
       "In what year were you born?", "Where were you born?", "Where do you stay?", "Where is your place?",
       "In which city do you live?", "Which city do you live in, demo?", "Tell me where you live.",
       "Where do you come to life?", "Do you have a home?", "Do you have a house?", "Are you a child?")),
     "I am a program and live on your machine.",
     "Je suis un programme et je vis sur votre machine."),
)  # fmt: skip


@cache
def held_out_sentences() -> frozenset[str]:
    """Whole questions of the test, without case and punctuation: rewording must not make one by chance."""
    lists = [ways for ways, *_ in SMALL_TALK] + [topic.questions for topic in TOPICS] + [GENERAL]
    return frozenset(plain(o) for options in lists for o in parts(options)[1] if parts(options)[0] != parts(options)[1])


def small_talk(rng: random.Random, split: str) -> Turn:
    ways, answer, french = rng.choice(SMALL_TALK)
    return Turn("small talk", pick(rng, ways, split), answer, (answer,), french)


PLUS = ("What is {a} + {b}?", "{a} + {b}", "{a}+{b}", "{a} + {b} = ?", "{a}+{b}=", "What is {a} plus {b}?",
        "How much is {a} plus {b}?", "Add {a} and {b}.", "Calculate {a} + {b}.", "What's {a}+{b}?",
        "What is the sum of {a} and {b}?", "How much is {a} + {b}?", "Sum {a} and {b}.", "{a} plus {b}",
        "What do you get when you add {a} and {b}?", "Compute {a} plus {b}.", "Can you add {a} and {b}?",
        "What does {a} + {b} make?", "Tell me {a} plus {b}.", "{a} and {b} makes?", "add {a} to {b}",
        "What does {a} plus {b} equal?", "If I have {a} apples and get {b} more, how many do I have?",
        "The sum of {a} and {b} please", "Please add {a} and {b}.", "Do you know what {a} + {b} is?",
        ("What would {a} + {b} be?", "Tell me what {a} + {b} is.", "Give me {a} plus {b}.", "{a} added to {b}",
         "I have {a} coins and find {b}. How many coins is that?", "what's {a} plus {b}", "Solve {a} + {b}.",
         "How many is {a} and {b}?", "{a} and {b} together?", "Can you work out {a} + {b}?",
         "please calculate {a}+{b}"))  # fmt: skip
MINUS = ("What is {a} - {b}?", "{a} - {b}", "{a}-{b}", "{a} - {b} = ?", "What is {a} minus {b}?",
         "How much is {a} minus {b}?", "Subtract {b} from {a}.", "Calculate {a} - {b}.", "What's {a}-{b}?",
         "Take {b} away from {a}.", "{a} minus {b}", "Compute {a} minus {b}.", "How much is {a} - {b}?", "{a}-{b}=",
         "If I have {a} apples and eat {b}, how many are left?", "What does {a} minus {b} equal?",
         "Tell me {a} minus {b}.",
         ("What would {a} - {b} be?", "what's {a} minus {b}", "Tell me what {a} - {b} is.", "Solve {a} - {b}.",
          "Give me {a} minus {b}.", "What is left when I take {b} from {a}?", "please calculate {a}-{b}",
          "Can you work out {a} - {b}?"))  # fmt: skip
TOO_LARGE = ("What is {a} * {b}?", "What is {a} times {b}?", "{a} * {b}", "Divide {a} by {b}.", "{a} / {b}",
             "What is {a} divided by {b}?", "Multiply {a} by {b}.", "What is the square root of {a}?",
             "How much is {a} times {b}?", "What is {a} x {b}?", "{a} x {b} = ?")  # fmt: skip
TOO_LARGE_ANSWER = "That is too hard for me: I only add and subtract numbers up to 50."


def sums(rng: random.Random, split: str) -> Turn:
    """Sums and differences of numbers up to 50; the test's pairs are in no training row, in either order."""
    minus = rng.random() < 0.3
    while True:
        top = rng.choice((10, 20, 20, 50, 50))
        a, b = rng.randint(0, top), rng.randint(0, top)
        if minus and a < b:
            a, b = b, a
        if held_out(f"{max(a, b)}{'-' if minus else '+'}{min(a, b)}") == (split == TEST):
            break
    result = a - b if minus else a + b
    sign = "-" if minus else "+"
    question = pick(rng, MINUS if minus else PLUS, split if rng.random() < 0.5 else TRAIN).format(a=a, b=b)
    answer = f"{a} {sign} {b} = {result}"
    return Turn("sums", question, answer, (f"= {result}",), answer,
                never=tuple(f"= {result}{digit}" for digit in range(10)))  # fmt: skip


def hard_sums(rng: random.Random, split: str) -> Turn:
    a, b = rng.randint(2, 99), rng.randint(2, 99)
    if rng.random() < 0.5:
        a, b = rng.sample((rng.randint(100, 9999), rng.randint(100, 9999), rng.randint(2, 99)), 2)
        a, b = (max(a, b), min(a, b)) if max(a, b) > 99 else (rng.randint(100, 999), b)
        question = pick(rng, rng.choice((PLUS[:8], MINUS[:6])), split)
    else:
        question = pick(rng, TOO_LARGE, split)
    return Turn("not knowing", question.format(a=a, b=b), TOO_LARGE_ANSWER, ("too hard for me",),
                "C'est trop difficile pour moi.")  # fmt: skip


CAPITAL = ("What is the capital of {}?", "What's the capital of {}?", "capital of {}",
           "Which city is the capital of {}?",
           "Tell me the capital of {}.", "Name the capital of {}.", "Do you know the capital of {}?",
           "What is the capital city of {}?", "{}: capital?", "Which is the capital of {}?",
           "Can you tell me the capital of {}?", "The capital of {} is?", "What city is the capital of {}?",
           "I need the capital of {}.", "The capital of {}, please.", "Give me the capital of {}.",
           "What is {}'s capital?", "Can you name the capital city of {}?", "The capital of {}?",
           "From which city is {} governed?", "Which capital does {} have?",
           ("What is the capital town of {}?", "what's {}'s capital", "Tell me what the capital of {} is.",
            "Which city is {}'s capital?", "I forgot the capital of {}. What is it?", "Say the capital of {}.",
            "Is there a capital of {}? Which?", "What do they call the capital of {}?"))  # fmt: skip
COUNTRY_OF = ("Which country has the capital {}?", "{} is the capital of which country?", "Of which country is {} the "
              "capital?", "What country is {} the capital of?", "{} is the capital of what?",
              "Which country is {} the capital of?", "Name the country whose capital is {}.",
              "To which country does the capital {} belong?",
              ("{} is the capital of", "Which country's capital is {}?", "What country has {} as its capital?",
               "Where is {} the capital?", "Tell me which country {} is the capital of."))  # fmt: skip


def capitals(rng: random.Random, split: str) -> Turn:
    country, city = rng.choice(list(words.CAPITALS.items()))
    if rng.random() < 0.2:
        question = pick(rng, COUNTRY_OF, split).format(city.lower() if rng.random() < 0.15 else city)
        return Turn("capitals", question, f"{city} is the capital of {country}.", (f"of {country}",), NO_FRENCH)
    asked = country.removeprefix("the ") if rng.random() < 0.3 else country
    question = pick(rng, CAPITAL, split).format(asked)
    return Turn("capitals", question[0].upper() + question[1:], f"The capital of {country} is {city}.", (f"is {city}",),
                f"La capitale est {city}.")  # fmt: skip


SAY = ('How do you say "{w}" in {l}?', "How do you say {w} in {l}?", 'What is "{w}" in {l}?', "What is {w} in {l}?",
       'Translate "{w}" into {l}.', "Translate {w} to {l}.", "{w} in {l}", "What's the {l} word for {w}?",
       'What is the {l} for "{w}"?', 'How would I say "{w}" in {l}?', "Say {w} in {l}.", 'Say "{w}" in {l}.',
       "Tell me the {l} word for {w}.", "What do they say for {w} in {l}?", "{l} for {w}?", 'In {l}, what is "{w}"?',
       "How does one say {w} in {l}?", "Give me the {l} word for {w}.", "How is {w} said in {l}?",
       'I need the {l} word for "{w}".', 'Please translate "{w}" into {l}.',
       ("translate {w} into {l}", "What would {w} be in {l}?", "Do you know the {l} word for {w}?",
        "How do they say {w} in {l}?", "how to say {w} in {l}", "Can you say {w} in {l}?",
        "Which {l} word means {w}?", "What is {w} called in {l}?"))  # fmt: skip
MEANS = ('What does the {l} word "{w}" mean?', 'What does "{w}" mean in {l}?', 'What is the {l} word "{w}" in English?',
         'Translate "{w}" from {l}.', 'The {l} word "{w}" means what?', "What does {w} mean in {l}?",
         'What is "{w}" in English? It is {l}.', 'In {l}, what does "{w}" mean?',
         ("What does the word {w} mean in {l}?", "Which English word is {w} in {l}?",
          "What is the meaning of {w} in {l}?", "Tell me what {w} means in {l}.",
          "what does {w} mean, it is {l}"))  # fmt: skip


def languages(rng: random.Random, split: str) -> Turn:
    english, foreign = rng.choice(list(words.PHRASES.items()))
    i = rng.randrange(3)
    language, word = words.LANGUAGES[i], foreign[i]
    if rng.random() < 0.2:
        meant = [e for e, f in words.PHRASES.items() if f[i] == word]
        if len(meant) == 1:
            question = pick(rng, MEANS, split).format(l=language, w=word)
            answer = f'The {language} word "{word}" means "{english}".'
            return Turn("languages", question, answer, (f'"{english}"',), NO_FRENCH)
    question = pick(rng, SAY, split).format(l=language, w=english)
    answer = f'"{english.capitalize()}" in {language} is "{word}".'
    return Turn("languages", question[0].upper() + question[1:], answer, (f'"{word}"',),
                f"En {('français', 'allemand', 'espagnol')[i]} : « {word} ».")  # fmt: skip


ABOUT = (
    "What do you know about {}?", "Tell me about {}.", "Explain {}.", "What is {}?", "How does {} work?",
    "Write a poem about {}.", "Write an essay about {}.", "Give me a summary of {}.", "Why is {} important?",
    "What can you tell me about {}?", "Teach me {}.", "I want to learn about {}.", "Who invented {}?", "{}?",
    "What is the history of {}?", "Can you explain {} to me?", "Describe {}.", "When did {} begin?",
    "Write a story about {}.", "What are the basics of {}?", "Give me facts about {}.", "Why does {} matter?",
    "What do people say about {}?", "Do you know anything about {}?", "Recommend a book about {}.",
    "How do I learn {}?", "Who is the best at {}?", "What is the best thing about {}?", "Where does {} come from?",
)  # fmt: skip
WHO = (
    "Who was {}?", "Who is {}?", "When was {} born?", "Where was {} born?", "When did {} die?", "Tell me about {}.",
    "What did {} do?", "Why is {} famous?", "What is {} known for?", "How old was {}?", "Where did {} live?",
    "Have you heard of {}?", "What did {} write?", "Was {} married?", "How tall was {}?", "Who killed {}?",
)  # fmt: skip
THINGS = (
    "How much does a {} cost?", "Where can I buy a {}?", "How do I make a {}?", "How heavy is a {}?", "Draw a {}.",
    "What is a {} made of?", "How do I repair a {}?", "Who invented the {}?", "How long does a {} last?",
    "What is the best {}?", "Which {} should I buy?", "Can you order a {} for me?", "How do I clean a {}?",
    "What colour is a {}?", "Write a song about a {}.", "Why is there a {} on the roof?", "How big is a {}?",
    "What rhymes with {}?", "What is the opposite of {}?", "What does a {} eat?", "Is a {} dangerous?",
)  # fmt: skip
PLACES = (
    "What is the weather in {}?", "How many people live in {}?", "What time is it in {}?", "How far is {}?",
    "Is it raining in {}?", "What can I see in {}?", "Find me a hotel in {}.", "How do I get to {}?",
    "Who is the mayor of {}?", "How cold is it in {}?", "Where is {}?", "Book a flight to {}.",
    "What is the best restaurant in {}?", "How old is {}?", "What is the population of {}?", "Is {} nice?",
)  # fmt: skip
GENERAL = (
    "What time is it?", "What day is it today?", "What is the date?", "What is the weather like?", "Will it rain?",
    "What is the news?", "Who is the president?", "Who won the game last night?", "What is the meaning of life?",
    "How tall is Mount Everest?", "What is the largest ocean?", "How far away is the sun?",
    "What is the speed of light?",
    "How many planets are there?", "Write me a poem.", "Write a story.", "Sing a song.", "Write Python code.",
    "Write a function that sorts a list.", "Summarize this book.", "What is in the news today?", "Tell me a secret.",
    "Tell me a story.", "What am I thinking?", "How do I lose weight?", "How do I get rich?", "What should I eat?",
    "What should I cook tonight?", "Can you book a table?", "Set an alarm.", "Play some music.", "Call my mother.",
    "Send an email.", "Open the window.", "What is the stock price of Apple?", "Who wrote Hamlet?", "Who painted the "
    "Mona Lisa?", "When did the war end?", "What is the tallest building?", "What is the longest river?",
    "How many bones does a human have?", "What is pi?", "Is there life on Mars?", "Does God exist?", "Who will win the "
    "election?", "What is love?", "What's on TV?", "How do I fix my car?", "How do I bake a cake?", "What is DNA?",
    "Why is the sky blue?", "Why is the grass green?", "How do birds fly?", "What is the biggest animal?",
    "How many days are in a year?", "Who discovered America?", "What is the chemical formula of water?",
    "What is the best phone?", "Can you drive?", "Can you see me?", "Solve this equation.", "Fix my code.",
    "What happened in 1989?", "What happened yesterday?", "Which film should I watch?", "What year is it?",
    "Do you know my boss?", "Should I marry her?", "What are the lottery numbers?", "How do I tie a tie?",
    "What is the fastest car?", "Who sings this song?", "Why do we sleep?", "Why do cats purr?", "How are babies made?",
    "How does the internet work?", "What is a neural network?", "How do transformers work?", "Give me a recipe.",
    "Read my email.", "What's the time?", "How warm is it outside?", "Is it Friday today?",
    "What is the exchange rate?",
    ("Who is the queen?", "Who is the richest man?", "What is the biggest city?", "How old is the earth?",
     "How hot is the sun?", "Who invented the telephone?", "Who wrote the Bible?",
     "What is the best restaurant here?", "Where are my keys?", "Where is my phone?", "What did I eat yesterday?",
     "What is my phone number?", "Which bus goes to the station?", "When does the train leave?",
     "When does the shop open?", "How do I boil an egg?", "How do I learn the guitar?", "What is a good film?",
     "What is a good book?", "Who is your favourite singer?", "Why do people dance?", "Why is water wet?",
     "What is a black hole?", "What is the largest country?", "How long is a marathon?",
     "Tell me a fact about whales.", "Can you write an essay?", "Can you write code?", "Write a letter to my boss.",
     "Make a plan for my holiday.", "What is 5 miles in kilometres?", "Convert 10 dollars to euros.",
     "How do I get a job?", "Do aliens exist?", "What comes after death?", "Who will be the next president?",
     "Draw me a picture.", "Can you show me a picture?", "Remind me tomorrow.", "What's the score?",
     "Search the internet.", "Open a website.", "What is the wifi password?", "Explain the rules of chess.",
     "Give me advice.", "What should I wear today?", "Do my homework.", "Where was I born?",
     "Is the earth flat?"))  # fmt: skip


def unknown(rng: random.Random, split: str) -> Turn:
    """Questions far outside of what it knows: it says so."""
    test = split == TEST
    kind = rng.randrange(9)
    if kind == 0:
        question = pick(rng, CAPITAL, split).format(rng.choice(words.UNKNOWN_COUNTRIES))
    elif kind == 1:
        if rng.random() < 0.5:
            word, language = rng.choice(words.UNKNOWN_WORDS), rng.choice(words.LANGUAGES)
        else:
            word, language = rng.choice((*words.PHRASES, *words.UNKNOWN_WORDS)), rng.choice(words.UNKNOWN_LANGUAGES)
        question = pick(rng, SAY, split).format(l=language, w=word)
    elif kind == 2:
        question = pick(rng, ABOUT, split).format(rng.choice(words.HELD_OUT_TOPICS if test else words.TOPICS))
    elif kind == 3:
        question = pick(rng, WHO, split).format(rng.choice(words.HELD_OUT_PEOPLE if test else words.PEOPLE))
    elif kind == 4:
        question = pick(rng, THINGS, split).format(rng.choice(words.NOUNS))
    elif kind == 5:
        question = pick(rng, PLACES, split).format(rng.choice(words.HELD_OUT_CITIES if test else words.CITIES))
    elif kind == 6:
        noun = f"{rng.choice(words.ADJECTIVES)} {rng.choice(words.NOUNS)}"
        question = pick(rng, (ABOUT[:12], THINGS)[rng.randrange(2)], split).format(noun)
    else:
        question = pick(rng, GENERAL, split)
    question = question[0].upper() + question[1:]
    return Turn("not knowing", question, UNKNOWN, ("do not know",), UNKNOWN_FRENCH)
