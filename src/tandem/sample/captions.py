"""Captions of scenes; some labels are not mentioned, and some things without a label are."""

import numpy as np

from tandem.sample.scenes import Scene
from tandem.sample.words import ADJECTIVES, ASIDES, COUNTS, NOTHING, PLACES, PLURALS, QUOTES, UNCOUNTED, VERBS, WORDS

MENTIONED = 0.72  # chance that a label is mentioned
OTHER = 0.30  # chance that a thing without a label is mentioned
VAGUE, RARER = 0.09, 0.30  # chances of a vague and of a rarer word
ADJECTIVE = 0.30
PLURAL = 0.80  # chance of a plural for several
ASIDE, QUOTE = 0.26, 0.08
SEVERAL = tuple(count.removesuffix(" of") for counts in COUNTS.values() for count in counts.split("|"))


def _choose(choices: str, rng: np.random.Generator) -> str:
    options = choices.split("|")
    return options[rng.integers(len(options))]


def plural(noun: str) -> str:
    """The plural of a noun of WORDS.

    >>> plural("puppy"), plural("finch"), plural("dog")
    ('puppies', 'finches', 'dogs')
    """
    if noun.endswith("y") and noun[-2] not in "aeou":
        return noun[:-1] + "ies"
    return PLURALS.get(noun, noun + ("es" if noun.endswith(("ch", "s")) else "s"))


def with_article(noun: str) -> str:
    """
    >>> with_article("old dog"), with_article("SUV"), with_article("dog")
    ('an old dog', 'an SUV', 'a dog')
    """
    return f"an {noun}" if noun[0] in "aeiou" or noun == "SUV" else f"a {noun}"


def name_things(name: str, count: int, rng: np.random.Generator) -> str:
    """`a puppy`, `two dogs`, `some hounds`: one or a few of the thing `name`."""
    usual, rarer, vague = WORDS[name]
    chance = rng.random()
    noun = _choose(vague if chance < VAGUE else rarer if chance < VAGUE + RARER else usual, rng)
    if noun in UNCOUNTED:
        return noun
    if count > 1 and rng.random() < PLURAL:
        return f"{_choose(COUNTS[min(count, 3)], rng)} {plural(noun)}"
    return with_article(f"{_choose(ADJECTIVES, rng)} {noun}" if rng.random() < ADJECTIVE else noun)


def listed(parts: list[str]) -> str:
    """
    >>> listed(["a cat"]), listed(["a cat", "a dog", "two birds"])
    ('a cat', 'a cat, a dog and two birds')
    """
    return parts[0] if len(parts) == 1 else f"{', '.join(parts[:-1])} and {parts[-1]}"


def _sentence(parts: list[str], verb: str, place: str, form: int) -> str:
    """One of seven sentences with `parts` and `place`; some forms need a single first thing, or two parts."""
    first, rest = parts[0], parts[1:]
    several = first.startswith(SEVERAL)
    if form == 0:
        return f"a photo of {listed(parts)} {place}"
    if form == 1:
        also = f", and I can see {listed(rest)}" if rest else ""
        return f"there {'are' if several else 'is'} {first} {place}{also}"
    if form == 2 and rest:
        return f"{first} next to {listed(rest)} {place}"
    if form == 3 and not several:
        also = f", not far from {listed(rest)}" if rest else ""
        return f"{first} {verb} {place}{also}"
    if form == 4:
        return f"{place}, {listed(parts)}"
    if form == 5 and rest:
        return f"{listed(rest)} behind {first} {place}"
    return f"{listed(parts)} {place}"


def write_caption(scene: Scene, rng: np.random.Generator) -> str:
    """A caption of the scene, without some of its labels and with some things that have none."""
    mentioned = [name for name in scene.names if rng.random() < (MENTIONED if name in scene.labels else OTHER)]
    rng.shuffle(mentioned)
    place = _choose(PLACES[scene.kind], rng)
    if mentioned:
        parts = [name_things(name, scene.count(name), rng) for name in mentioned]
        text = _sentence(parts, _choose(VERBS[scene.kind], rng), place, int(rng.integers(7)))
    else:
        text = f"{_choose(NOTHING[scene.kind], rng)} {place}"
    if rng.random() < ASIDE:
        text += f" {_choose(ASIDES[scene.kind], rng)}"
    if rng.random() < QUOTE:
        text += f"; {_choose(QUOTES, rng)}"
    return f"{text[0].upper()}{text[1:]}."
