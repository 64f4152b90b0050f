"""The texts that are sent: an easy question, passages of which one answers it, and long ones of any length. Pure."""

from __future__ import annotations

QUERY = "What is the capital of France?"
ANSWER = "Paris is the capital of France."
# The answer stands second: a server that gives passages back in the order they came is seen.
PASSAGES = ("Bananas grow in warm and humid places.", ANSWER, "The train to the coast leaves at noon.", "A violin has four strings.")
RELEVANT = PASSAGES.index(ANSWER)
NO_SUCH_MODEL = "emberank-doctor-no-such-model"

_FILLER = ("the", "road", "by", "the", "river", "is", "long", "and", "the", "day", "is", "warm")


def long_pair(words: int) -> tuple[str, str]:
    """Two passages of `words` words that differ in their last few only: who gives both the same score has not read that far."""
    filler = " ".join(_FILLER[i % len(_FILLER)] for i in range(words - 6))
    return f"{filler} {ANSWER}", f"{filler} Bananas grow in warm humid places."


def short(count: int) -> list[str]:
    """So many passages of a word and a number."""
    return [f"note {number}" for number in range(count)]
