"""A tokenizer's kind and a vocabulary's size in, the content of a tokenizer.json out, made of words.toml: for random checkpoints, and nobody's real tokenizer.

Each kind splits text, puts special tokens around it and numbers them as the real one does, so that the checkpoint takes the same way through the
runtime; what a piece of text becomes is another matter. The same words give the same file. Knows no weights and no config.json, and needs no library.
"""

from __future__ import annotations

import tomllib
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from importlib.resources import files
from itertools import pairwise
from typing import Any, Literal

Kind = Literal["llama3", "llama3_images", "qwen3", "modernbert", "bert", "xlm_roberta"]

# How the real ones split text before any piece of it is looked up: Llama 3's expression, and what Qwen and GPT-2 have in its place.
LLAMA3_SPLIT = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
_QWEN_SPLIT = LLAMA3_SPLIT.replace(r"\p{N}{1,3}", r"\p{N}")
_GPT2_SPLIT = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"

_TRAINED_MERGES = 1500
_PUNCTUATION = ".,;:!?()[]{}'\"-_/*#%&=+<>$@"
# Runs of white space and punctuation that the expressions leave in one piece; the one with two line ends is in NVIDIA's rerank prompt.
_RUNS = (
    "\n\n",
    "  ",
    "   ",
    "    ",
    " \n \n",
    ".\n",
    ".\n\n",
    ":\n",
    '."',
    '",',
    "),",
    ").",
    "--",
    "...",
    "://",
    "==",
    "->",
    "()",
    "''",
    " (",
    ' "',
    " -",
    " =",
    " '",
)
_PART_WEIGHT = 50  # of a part of a word; whole words weigh 20000 to some tens, by rank


def tokenizer_json(kind: Kind, size: int) -> dict[str, Any]:
    """What tokenizer.json holds: exactly `size` entries, special tokens at the places where the real one has them. Raises ValueError when `size` is too small."""
    if kind == "bert":
        return _bert(size)
    if kind == "xlm_roberta":
        return _xlm_roberta(size)
    if kind == "modernbert":
        marks = dict(zip(("[UNK]", "[CLS]", "[SEP]", "[PAD]", "[MASK]"), range(50280, 50285)))
        frame = _template(("[CLS]", "A", "[SEP]"), ("[CLS]", "A", "[SEP]", "B", "[SEP]"), marks, second_type=0)
        return _byte_level(_GPT2_SPLIT, size, 50280, marks, post=frame, normalizer={"type": "NFC"})
    if kind == "qwen3":
        return _qwen3(size)
    return _llama3(size, images=kind == "llama3_images")


def _llama3(size: int, *, images: bool) -> dict[str, Any]:
    named = {
        0: "begin_of_text",
        1: "end_of_text",
        4: "finetune_right_pad_id",
        6: "start_header_id",
        7: "end_header_id",
        8: "eom_id",
        9: "eot_id",
        10: "python_tag",
    }
    reserved = iter(range(256))
    marks = {f"<|{named.get(i) or f'reserved_special_token_{next(reserved)}'}|>": 128000 + i for i in range(256)}
    if images:
        # Ten tokens stand behind Llama's own, and of one of them it is known what and where it is.
        marks |= {"<IMG_CONTEXT>" if i == 2 else f"<|unknown_added_token_{i}|>": 128256 + i for i in range(10)}
    begin = "<|begin_of_text|>"
    frame = _template((begin, "A"), (begin, "A", begin, "B"), marks, second_type=1)
    post = {"type": "Sequence", "processors": [{"type": "ByteLevel", "add_prefix_space": True, "trim_offsets": False, "use_regex": True}, frame]}
    return _byte_level(LLAMA3_SPLIT, size, 128000, marks, post=post, ignore_merges=True)


def _qwen3(size: int) -> dict[str, Any]:
    names = ["<|endoftext|>", "<|im_start|>", "<|im_end|>", *(f"<|unknown_added_token_{i}|>" for i in range(3, 24)), "<think>", "</think>"]
    marks = {name: 151643 + i for i, name in enumerate(names)}
    post = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": False, "use_regex": False}
    made = _byte_level(_QWEN_SPLIT, size, 151643, marks, post=post, normalizer={"type": "NFC"})
    for token in made["added_tokens"]:
        token["special"] = "think" not in token["content"]
    return made


def _byte_level(
    split: str, size: int, base: int, marks: Mapping[str, int], *, post: dict[str, Any], normalizer: dict[str, Any] | None = None, ignore_merges: bool = False
) -> dict[str, Any]:
    """BPE over bytes: `base` entries, then the `marks` where they say, and fillers up to `size`."""
    pieces, merges = _merged()
    vocabulary = {piece: place for place, piece in enumerate(pieces)}
    _fill(vocabulary, base)
    later = {place: name for name, place in marks.items()}
    for place in range(base, size):
        # A mark belongs to the added tokens; the table has it as well, so that every place of it is taken.
        vocabulary[later.get(place) or _filler(place)] = place
    _check(vocabulary, size)
    steps = [
        {"type": "Split", "pattern": {"Regex": split}, "behavior": "Isolated", "invert": False},
        {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": False},
    ]
    model: dict[str, Any] = {
        "type": "BPE",
        "dropout": None,
        "unk_token": None,
        "continuing_subword_prefix": None,
        "end_of_word_suffix": None,
        "fuse_unk": False,
    }
    model |= {"byte_fallback": False, "ignore_merges": ignore_merges, "vocab": vocabulary, "merges": [list(pair) for pair in merges]}
    decoder = {"type": "ByteLevel", "add_prefix_space": True, "trim_offsets": True, "use_regex": True}
    return _document(marks, normalizer, {"type": "Sequence", "pretokenizers": steps}, post, decoder, model)


def _bert(size: int) -> dict[str, Any]:
    marks = {"[PAD]": 0, "[UNK]": 100, "[CLS]": 101, "[SEP]": 102, "[MASK]": 103}
    vocabulary = {"[PAD]": 0} | {f"[unused{i - 1}]": i for i in range(1, 100)} | {name: place for name, place in marks.items() if place}
    letters = [chr(code) for code in range(0x21, 0x7F) if not chr(code).isupper()]
    words = [word for word in _words() if word.islower()]
    whole = [*letters, *words, *_whole_pieces(), *(str(i) for i in range(1000))]
    for piece in dict.fromkeys([*whole, *(f"##{piece}" for piece in (*letters, *_fragments()))]):
        vocabulary.setdefault(piece, len(vocabulary))
    _fill(vocabulary, size)
    _check(vocabulary, size)
    model = {"type": "WordPiece", "unk_token": "[UNK]", "continuing_subword_prefix": "##", "max_input_chars_per_word": 100, "vocab": vocabulary}
    normalizer = {"type": "BertNormalizer", "clean_text": True, "handle_chinese_chars": True, "strip_accents": None, "lowercase": True}
    frame = _template(("[CLS]", "A", "[SEP]"), ("[CLS]", "A", "[SEP]", "B", "[SEP]"), marks, second_type=1)
    return _document(marks, normalizer, {"type": "BertPreTokenizer"}, frame, {"type": "WordPiece", "prefix": "##", "cleanup": True}, model)


def _xlm_roberta(size: int) -> dict[str, Any]:
    marks = {"<s>": 0, "<pad>": 1, "</s>": 2, "<unk>": 3, "<mask>": size - 1}
    pieces: dict[str, float] = dict.fromkeys(("<s>", "<pad>", "</s>", "<unk>"), 0.0)
    # Scores are log probabilities: by rank for words, a fixed low one for what is left of the others.
    for rank, word in enumerate(_words()):
        for form in (f"▁{word}", f"▁{word.capitalize()}"):
            pieces.setdefault(form, round(-4.0 - rank / 400, 4))
    for piece in _fragments():
        pieces.setdefault(piece, -11.0)
    for code in (*range(0x21, 0x7F), 0x2581):
        pieces.setdefault(chr(code), -14.0)
    pieces |= {_filler(place): -100.0 for place in range(len(pieces), size - 1)}
    pieces["<mask>"] = 0.0
    _check({piece: place for place, piece in enumerate(pieces)}, size)
    model = {"type": "Unigram", "unk_id": 3, "byte_fallback": False, "vocab": [list(item) for item in pieces.items()]}
    spaces = {"type": "Metaspace", "replacement": "▁", "prepend_scheme": "always", "split": True}
    frame = _template(("<s>", "A", "</s>"), ("<s>", "A", "</s>", "</s>", "B", "</s>"), marks, second_type=0)
    return _document(marks, {"type": "NFKC"}, spaces, frame, spaces, model)


def _document(marks: Mapping[str, int], normalizer: Any, split: Any, post: Any, decoder: Any, model: dict[str, Any]) -> dict[str, Any]:
    off = {"single_word": False, "lstrip": False, "rstrip": False, "normalized": False}
    added = [{"id": place, "content": name, **off, "special": True} for name, place in sorted(marks.items(), key=lambda item: item[1])]
    parts = {"normalizer": normalizer, "pre_tokenizer": split, "post_processor": post, "decoder": decoder, "model": model}
    return {"version": "1.0", "truncation": None, "padding": None, "added_tokens": added, **parts}


def _template(single: Sequence[str], pair: Sequence[str], marks: Mapping[str, int], *, second_type: int) -> dict[str, Any]:
    """Special tokens around text A, and around A and B. From the last mark before B on, everything of a pair has the second type."""

    def steps(names: Sequence[str], second: int) -> list[dict[str, Any]]:
        from_here = second if second < len(names) and names[second] in ("A", "B") else len(names)
        kinds = [second_type if at >= from_here else 0 for at in range(len(names))]
        return [
            {"Sequence": {"id": name, "type_id": kind}} if name in ("A", "B") else {"SpecialToken": {"id": name, "type_id": kind}}
            for name, kind in zip(names, kinds)
        ]

    used = dict.fromkeys(name for name in (*single, *pair) if name not in ("A", "B"))
    tokens = {name: {"id": name, "ids": [marks[name]], "tokens": [name]} for name in used}
    return {"type": "TemplateProcessing", "single": steps(single, len(single)), "pair": steps(pair, list(pair).index("B")), "special_tokens": tokens}


def _filler(place: int) -> str:
    """An entry that no text is ever split into: a hyphen and digits behind letters."""
    return f"<unused-{place:06d}>"


def _fill(vocabulary: dict[str, int], size: int) -> None:
    for place in range(len(vocabulary), size):
        vocabulary[_filler(place)] = place


def _check(vocabulary: Mapping[str, int], size: int) -> None:
    if len(vocabulary) != size or max(vocabulary.values()) != size - 1:
        raise ValueError(f"a vocabulary of {size} entries is too small for this tokenizer, which needs {len(vocabulary)}")


@cache
def _table() -> dict[str, tuple[str, ...]]:
    read = tomllib.loads(files("emberank.runtime").joinpath("words.toml").read_text("utf-8"))
    return {name: tuple(dict.fromkeys(text.split())) for name, text in read.items()}


def _words() -> tuple[str, ...]:
    return _table()["words"]


def _fragments() -> tuple[str, ...]:
    """What is left of a word when its beginning is gone: endings, syllables, and what the merges were trained to, without the space in front."""
    plain = [piece.removeprefix("Ġ") for piece in _trained_pieces()]
    return tuple(dict.fromkeys([*_table()["parts"], *(piece for piece in plain if piece.isascii() and piece.isalpha() and piece.islower())]))


def _whole_pieces() -> tuple[str, ...]:
    return tuple(
        dict.fromkeys(piece.removeprefix("Ġ") for piece in _trained_pieces() if piece.removeprefix("Ġ").isalpha() and piece.removeprefix("Ġ").islower())
    )


def _trained_pieces() -> list[str]:
    return ["".join(pair) for pair in _trained()]


@cache
def _merged() -> tuple[tuple[str, ...], tuple[tuple[str, str], ...]]:
    """The byte-level pieces in order, and the merges after which every word, number of three digits and run of punctuation is one of them."""
    merges = dict.fromkeys(_trained())
    order = {pair: place for place, pair in enumerate(merges)}
    for word in _wanted():
        parts = _applied(tuple(word), order)
        while len(parts) > 1:
            order[parts[0], parts[1]] = len(order)
            parts = (parts[0] + parts[1], *parts[2:])
    pieces = dict.fromkeys([*_alphabet().values(), *("".join(pair) for pair in order)])
    return tuple(pieces), tuple(order)


def _wanted() -> Iterator[str]:
    """Every text that shall be one piece, in the byte-level alphabet."""
    texts = [form for word in _words() for form in (f" {word}", word, f" {word.capitalize()}", word.capitalize())]
    texts += [*_RUNS, *(f" {mark}" for mark in _PUNCTUATION), *(f"{i:02d}" for i in range(100)), *(f"{i:03d}" for i in range(1000))]
    letters = _alphabet()
    for text in texts:
        yield "".join(letters[byte] for byte in text.encode())


@cache
def _alphabet() -> dict[int, str]:
    """One printable character for each byte: itself where it is one, else one from 256 on. The usual one of byte-level BPE."""
    shown = [*range(ord("!"), ord("~") + 1), *range(ord("¡"), ord("¬") + 1), *range(ord("®"), ord("ÿ") + 1)]
    hidden = [byte for byte in range(256) if byte not in shown]
    return {byte: chr(byte) for byte in shown} | {byte: chr(256 + place) for place, byte in enumerate(hidden)}


def _applied(parts: tuple[str, ...], order: Mapping[tuple[str, str], int]) -> tuple[str, ...]:
    """The parts after every merge that applies, the earliest first, as BPE does."""
    while len(parts) > 1:
        pair = min(pairwise(parts), key=lambda pair: order.get(pair, len(order)))
        if pair not in order:
            break
        parts = _joined(parts, pair)
    return parts


def _joined(parts: tuple[str, ...], pair: tuple[str, str]) -> tuple[str, ...]:
    out: list[str] = []
    for part in parts:
        if out and (out[-1], part) == pair:
            out[-1] += part
        else:
            out.append(part)
    return tuple(out)


@cache
def _trained() -> tuple[tuple[str, str], ...]:
    """Merges in the order in which they save the most pieces over the words and their parts, frequent words counting more."""
    words = _table()["words"]
    weights: dict[tuple[str, ...], int] = {}
    for rank, word in enumerate(words):
        weights[tuple(f"Ġ{word}")] = 1_000_000 // (rank + 50)
        weights.setdefault(tuple(word), 100_000 // (rank + 50))
    for part in _table()["parts"]:
        weights.setdefault(tuple(part), _PART_WEIGHT)
    spelt = list(weights.items())
    counts: Counter[tuple[str, str]] = Counter()
    where: dict[tuple[str, str], set[int]] = {}
    for at, (parts, weight) in enumerate(spelt):
        _count(parts, weight, at, counts, where)
    merges: list[tuple[str, str]] = []
    while len(merges) < _TRAINED_MERGES and counts:
        # Whole numbers, and ties by spelling: the same words give the same merges on every machine.
        best = max(counts.items(), key=_heaviest)[0]
        merges.append(best)
        for at in sorted(where[best]):
            parts, weight = spelt[at]
            _count(parts, -weight, at, counts, where)
            spelt[at] = (_joined(parts, best), weight)
            _count(spelt[at][0], weight, at, counts, where)
        counts.pop(best, None)
    return tuple(merges)


def _heaviest(item: tuple[tuple[str, str], int]) -> tuple[int, tuple[str, str]]:
    return item[1], item[0]


def _count(parts: tuple[str, ...], weight: int, at: int, counts: Counter[tuple[str, str]], where: dict[tuple[str, str], set[int]]) -> None:
    for pair in pairwise(parts):
        counts[pair] += weight
        where.setdefault(pair, set()).add(at)
