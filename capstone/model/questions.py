"""Questions, names that exist, names that nobody documented, and the conversations made of them.

Invariant: what `Lists` fixes before training (held-out phrasings and held-out fabricated names) never enters a
conversation that is trained on, and a name that exists anywhere in the documentation is never taught as unknown.
"""

import random

from settings import ASSISTANT, BOS, EOS, HELD_OUT_NAMES, REFUSAL, SAMPLED_ITEMS, SEED, SYSTEM, USER

TRAINED = [
    "What does {} do?", "Explain {}.", "Describe {} in one sentence.", "Summarise the documentation of {}.",
    "What is {} for?", "What is {}?", "Tell me about {}.", "How would you describe {}?", "Define {}.", "{}",
    "Give me the summary of {}.", "What does the documentation say about {}?", "What can {} be used for?",
    "Can you explain {}?", "In one sentence, what is {}?", "What's {}?", "What does {} mean?", "{}?",
    "Explain what {} does.", "I want to know what {} does.", "When would I use {}?", "Document {}.",
    "Describe {}.", "Look up {}.", "Show me the docs of {}.", "How does {} work?", "What do the docs say on {}?",
    "Write one line about {}.", "Why is there {}?", "Do you know {}?", "What is the meaning of {}?",
    "Remind me what {} is.", "Summarize {} for me.", "What happens when I use {}?", "Help me understand {}.",
    "What is the {kind} {} in Rust?", "Explain the {kind} {}.", "What does the {kind} {} do?", "Describe the {kind} {} of the standard library.",
]
HELD_OUT_PHRASINGS = [
    "Could you tell me the purpose of {}?",
    "I came across {} in some code, what is it there for?",
    "Please give a brief account of {}.",
]
OPENERS = ["", "", "", "", "", "", "Please ", "Hi, ", "Hello! ", "Quick question: ", "Hey, ", "In Rust, ", "OK. "]
CLOSERS = ["", "", "", "", "", "", " Thanks.", " Please.", " Be brief.", " Answer in one sentence.", " I am new to Rust."]
SYSTEMS = ["You are a helpful assistant.", "You answer questions about the Rust standard library.", "Be brief.",
           "You are an expert in Rust.", "Answer with one sentence."]
CALLABLE = {"method", "fn"}
INVENTED = ("fly frobnicate teleport sing cook paint juggle whisper dance bake climb polish harvest brew sculpt glide yodel "
            "wander launder marinate sneeze hover knit gallop tickle orbit ferment whistle stargaze doodle").split()
SYLLABLES = "ba co di fu ga ho ki lu ma ne po qui ra so ti ve wo xa yu zer plo tran stri gle mor".split()


def short(path):
    """`std::vec::Vec::push` as `Vec::push`."""
    return "::".join(path.split("::")[-2:])


class Lists:
    """What is drawn once from SEED, before training: sampled items and held-out fabricated names."""

    def __init__(self, items, known):
        self.items = items
        self.by_path = {item["path"]: item for item in items}
        self.names = {item["path"]: names_of(item) for item in items}
        add_short_names(items, self.names, known, self.by_path)
        self.known = set(known) | {name.rstrip("!") for names in self.names.values() for name in names}
        self.known |= {short(name) for name in known}
        self.words = sorted({w for item in items for w in item["summary"].split() if w.isalpha()})
        rng = random.Random(SEED)
        self.sampled = rng.sample([item for item in items if item["origin"] == "own"], SAMPLED_ITEMS)
        self.fabricated = []
        self.held_out = set()
        while len(self.fabricated) < HELD_OUT_NAMES:
            name = self.fabricate(rng)
            if name not in self.held_out:
                self.fabricated.append(name)
                self.held_out.add(name)

    def fabricate(self, rng):
        """A name that is in nobody's documentation, made from real ones."""
        while True:
            item, other = rng.choice(self.items), rng.choice(self.items)
            *owner, last = item["path"].split("::")
            name = rng.choice([graft, invent, misspell, move, make_up])(rng, owner, last, other["path"])
            if rng.random() < 0.25:
                name = short(name)
            if name.rstrip("!") not in self.known and name not in self.held_out and len(name) > 3:
                return name


def names_of(item):
    """The ways to write a path, the first being canonical."""
    path = item["path"]
    names = [path, *item["aliases"]]
    if path.endswith("!"):
        names.append(path[:-1])
    return names


def add_short_names(items, names, known, by_path):
    """`Vec::push` and `HashMap` where every documented item so called says the same; `std::str::trim` for primitives."""
    owners, taken = {}, set(known)
    for item in items:
        path = item["path"]
        for name in {short(path), path.split("::")[-1]}:
            owners.setdefault(name, []).append(item)
        if path.count("::") == 1 and not path.startswith(("std::", "core::", "alloc::")) and "std::" + path not in taken:
            names[path].append("std::" + path)
    for name, same in owners.items():
        if len({item["summary"] for item in same}) == 1 and (name not in by_path or by_path[name] in same):
            if "::" in name or name[0].isupper() or name.endswith("!") or len(name) > 6:
                for item in same:
                    if name not in names[item["path"]]:
                        names[item["path"]].append(name)


def graft(rng, owner, last, other):
    """A real owner with the last part of another name."""
    return "::".join([*owner, other.split("::")[-1]])


def invent(rng, owner, last, other):
    """A real owner with an invented word."""
    word = rng.choice(INVENTED) if rng.random() < 0.4 else "".join(rng.choices(SYLLABLES, k=rng.randint(2, 3)))
    if rng.random() < 0.3:
        word = f"{rng.choice(['try', 'into', 'as', 'is', 'with', 'from'])}_{word}"
    return "::".join([*owner, word.capitalize() if last[:1].isupper() else word])


def misspell(rng, owner, last, other):
    """A real name with one letter of its last part doubled, dropped or changed twice over."""
    at = rng.randrange(len(last))
    letters = "".join(rng.choices("abcdefghijklmnopqrstuvwxyz", k=2))
    edited = rng.choice([last[:at] + letters + last[at:], last[:at] + letters + last[at + 1:], last[:at] + last[at + 2:]])
    return "::".join([*owner, edited or letters])


def move(rng, owner, last, other):
    """A real name in another or an invented module."""
    modules = other.split("::")[:-1] if rng.random() < 0.5 else ["std", "".join(rng.choices(SYLLABLES, k=2))]
    return "::".join([*modules, *owner[-1:], last] if owner and owner[-1][:1].isupper() else [*modules, last])


def make_up(rng, owner, last, other):
    """A path of which nothing is real."""
    parts = ["".join(rng.choices(SYLLABLES, k=rng.randint(2, 3))) for _ in range(3)]
    parts[1] = parts[1].capitalize()
    return "::".join(["std", *parts])


def ask(rng, lists, name, kind):
    """A question about a name: mostly a trained phrasing, sometimes any words around it."""
    if kind in CALLABLE and rng.random() < 0.12:
        name += "()"
    quoted = f"`{name}`" if rng.random() < 0.7 else name
    if rng.random() < 0.1:
        before, after = (" ".join(rng.choices(lists.words, k=rng.randint(0, 6))) for _ in range(2))
        return f"{before} {quoted} {after}".strip() + rng.choice(["?", ".", ""])
    words = rng.choice(TRAINED).replace("{kind}", kind)
    if rng.random() < 0.2:
        words = words.rstrip("?.")
    if rng.random() < 0.25:
        words = words[:1].lower() + words[1:]
    return (rng.choice(OPENERS) + words + rng.choice(CLOSERS)).replace("{}", quoted)


def turn(rng, lists):
    """One question and its answer."""
    if rng.random() < 0.15:
        return ask(rng, lists, lists.fabricate(rng), rng.choice(["method", "struct", "fn", "trait"])), REFUSAL
    item = rng.choice(lists.items)
    names = lists.names[item["path"]]
    name = names[0] if rng.random() < 0.6 else rng.choice(names)
    return ask(rng, lists, name, item["kind"]), item["summary"]


def render(turns, system=None):
    """A conversation as text, exactly as the chat template writes it, without the last answer's end."""
    text = BOS + (f"{SYSTEM}{system}{EOS}" if system else "")
    for question, answer in turns:
        text += f"{USER}{question}{EOS}{ASSISTANT}" + (f"{answer}{EOS}" if answer is not None else "")
    return text


def conversation(rng, lists):
    """A training conversation: mostly one turn, sometimes several, sometimes under a system prompt."""
    turns = [turn(rng, lists) for _ in range(1 if rng.random() < 0.8 else rng.randint(2, 4))]
    return render(turns, rng.choice(SYSTEMS) if rng.random() < 0.15 else None)
