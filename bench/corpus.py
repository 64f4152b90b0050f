"""A seed in, texts out: the 256 texts of 20 to 200 words that every benchmark here embeds.

Does not know what a token, a model or a server is.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import random
from pathlib import Path
from typing import Literal

Source = Literal["auto", "cranfield", "words"]

CRANFIELD = Path(__file__).resolve().parents[2] / "shared" / "data" / "cranfield" / "corpus.jsonl"  # about 1.27 BERT tokens a word
WORD_LIST = Path(__file__).with_name("words.txt")  # about one token a word; frequent first
SHORT_TEXT = "How does a propeller slipstream change the lift of a wing?"
# The first two say the same thing, the third does not: any embedder worth starting puts the first pair closer.
KNOWN_SENTENCES = ("A man is playing a guitar on stage.", "Someone performs music on a guitar.", "The recipe needs two cups of flour.")
# The first one's first values from sentence-transformers in float32 with all-MiniLM-L6-v2.
KNOWN_PREFIX = (0.01859, 0.03584, -0.01521, -0.07821, -0.14328, 0.0042, 0.07492, -0.01719)


def words(source: Source) -> tuple[str, list[str]]:
    """Where the words come from, and the words in their order there."""
    if source == "cranfield" or (source == "auto" and CRANFIELD.is_file()):
        with CRANFIELD.open(encoding="utf-8") as lines:
            return "cranfield", [word for line in lines for word in json.loads(line)["text"].split()]
    common = WORD_LIST.read_text(encoding="utf-8").split()
    # Drawn as often as the rank says, which is about how language does it.
    return "words", random.Random(1).choices(common, [1 / rank for rank in range(1, len(common) + 1)], k=100_000)


def texts(count: int = 256, *, seed: int = 7, least: int = 20, most: int = 200, source: Source = "auto") -> tuple[str, list[str]]:
    """Where the words come from, and `count` spans of `least` to `most` consecutive words of it."""
    name, stream = words(source)
    dice = random.Random(seed)
    spans = ((dice.randint(0, len(stream) - most), dice.randint(least, most)) for _ in range(count))
    return name, [" ".join(stream[start : start + length]) for start, length in spans]


def fingerprint(many: list[str]) -> str:
    """Short enough to print beside a figure: two runs with the same one embedded the same texts."""
    return hashlib.sha256("\n".join(many).encode()).hexdigest()[:12]


def main() -> None:
    parser = argparse.ArgumentParser(description="Print the benchmark's texts, one JSON string a line.")
    parser.add_argument("--corpus", choices=("auto", "cranfield", "words"), default="auto")
    parser.add_argument("--count", type=int, default=256)
    options = parser.parse_args()
    for text in texts(options.count, source=options.corpus)[1]:
        print(json.dumps(text))


if __name__ == "__main__":
    main()
