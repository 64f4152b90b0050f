"""A few words in, the tokenizers of the model families out: the real ones' pre-tokenizers, special tokens and post-processors over tiny vocabularies.

Merges are made so that each of the words given is one token wherever the pre-tokenizer keeps it whole; everything else falls to bytes or letters.
"""

from __future__ import annotations

import string
from collections.abc import Sequence

from tokenizers import AddedToken, Regex, Tokenizer, decoders, normalizers, pre_tokenizers, processors
from tokenizers.models import BPE, Unigram

_LLAMA3 = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
_QWEN = _LLAMA3.replace(r"\p{N}{1,3}", r"\p{N}")
_GPT2 = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"

# Spaces as the byte-level alphabet writes them: Ġ for a space, Ċ for a line's end.
WORDS = (
    *("question", "query", ":", "passage", "Ġpassage", "ĠĊĠĊ", ":The", "The", "the", "Ġthe", "Ġof", "Ġand", "Ġis", "Ġsky", "Ġblue", "what", "Ġai"),
    *("snow", "Ġsnow", "Ġroad", "Ġwood", "ice", "Ġred", "Ġhot", "way", "Ġway", "Ġgo", "warm", "Ġember", "yes", "no", "system", "user", "assistant", "ĊĊ"),
)


def tokenizer_llama3_like(*, images: bool = False) -> Tokenizer:
    """Llama 3's: byte-level BPE, `<|begin_of_text|>` put first, no end; with `images` the added tokens of the vision models behind all others.

    Vocabulary: 256 bytes, the merged words, then the special tokens in Llama's order.
    """
    special = ("<|begin_of_text|>", "<|end_of_text|>", "<|finetune_right_pad_id|>", "<|eot_id|>")
    made = _byte_level(_LLAMA3, WORDS, special, ignore_merges=True)
    begin = special[0]
    made.post_processor = processors.Sequence(
        [
            processors.ByteLevel(trim_offsets=True),
            processors.TemplateProcessing(single=f"{begin} $A", pair=f"{begin} $A {begin}:1 $B:1", special_tokens=[(begin, made.token_to_id(begin))]),
        ]
    )
    if images:
        made.add_special_tokens([_special(word) for word in ("<img>", "</img>", "<IMG_CONTEXT>")])
    return made


def tokenizer_qwen3_like() -> Tokenizer:
    """Qwen 3's: byte-level BPE over NFC, nothing put around; ChatML's marks special, `<think>` added and not special."""
    made = _byte_level(_QWEN, WORDS, ("<|endoftext|>", "<|im_start|>", "<|im_end|>"))
    made.normalizer = normalizers.NFC()
    made.post_processor = processors.ByteLevel(add_prefix_space=False, use_regex=False, trim_offsets=False)
    made.add_tokens([AddedToken(word, normalized=False, special=False) for word in ("<think>", "</think>")])
    return made


def tokenizer_modernbert_like() -> Tokenizer:
    """ModernBERT's: byte-level BPE over NFC, [CLS] and [SEP] put around, every token of type 0."""
    special = ("[UNK]", "[CLS]", "[SEP]", "[PAD]", "[MASK]")
    made = _byte_level(_GPT2, WORDS, special)
    made.normalizer = normalizers.NFC()
    made.post_processor = processors.TemplateProcessing(
        single="[CLS]:0 $A:0 [SEP]:0", pair="[CLS]:0 $A:0 [SEP]:0 $B:0 [SEP]:0", special_tokens=[(word, made.token_to_id(word)) for word in special[1:3]]
    )
    return made


def tokenizer_xlm_like() -> Tokenizer:
    """XLM-RoBERTa's: SentencePiece's unigrams, `<s>` 0, `<pad>` 1, `</s>` 2, `<unk>` 3, `<mask>` last, two `</s>` between a pair's texts."""
    letters = string.ascii_letters + string.digits + string.punctuation + "▁雪道林"
    words = ["▁" + word for word in ("the", "of", "snow", "road", "wood", "ice", "red", "which", "way", "what", "is", "ember")]
    pieces = [(word, 0.0) for word in ("<s>", "<pad>", "</s>", "<unk>")]
    pieces += [(word, -2.0 - place / 8) for place, word in enumerate(words)] + [(letter, -8.0 - place / 64) for place, letter in enumerate(letters)]
    made = Tokenizer(Unigram([*pieces, ("<mask>", 0.0)], unk_id=3, byte_fallback=False))
    made.normalizer = normalizers.Sequence([normalizers.NFKC(), normalizers.Replace(Regex(" {2,}"), " ")])
    made.pre_tokenizer = pre_tokenizers.Metaspace()
    made.decoder = decoders.Metaspace()
    made.post_processor = processors.TemplateProcessing(
        single="<s> $A </s>", pair="<s> $A </s> </s> $B </s>", special_tokens=[(word, made.token_to_id(word)) for word in ("<s>", "</s>")]
    )
    made.add_special_tokens([_special(word) for word in ("<s>", "<pad>", "</s>", "<unk>", "<mask>")])
    return made


def _special(word: str) -> AddedToken:
    return AddedToken(word, normalized=False, special=True)


def _byte_level(pattern: str, words: Sequence[str], special: Sequence[str], *, ignore_merges: bool = False) -> Tokenizer:
    vocabulary, merges = _merged(words)
    made = Tokenizer(BPE(vocab={token: place for place, token in enumerate(vocabulary)}, merges=merges, ignore_merges=ignore_merges))
    made.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Split(Regex(pattern), "isolated"), pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)]
    )
    made.decoder = decoders.ByteLevel()
    made.add_special_tokens([_special(word) for word in special])
    return made


def _merged(words: Sequence[str]) -> tuple[list[str], list[tuple[str, str]]]:
    """A vocabulary, and merges in their order, after which each word is one token."""
    vocabulary = sorted(pre_tokenizers.ByteLevel.alphabet())
    merges: list[tuple[str, str]] = []
    for word in words:
        parts = list(word)
        for pair in merges:  # what earlier words' merges make of this one
            parts = _apply(parts, pair)
        while len(parts) > 1:
            merges.append((parts[0], parts[1]))
            parts = _apply(parts, merges[-1])
            vocabulary.append("".join(merges[-1]))
    return list(dict.fromkeys(vocabulary)), merges


def _apply(parts: list[str], pair: tuple[str, str]) -> list[str]:
    out: list[str] = []
    for part in parts:
        if out and (out[-1], part) == pair:
            out[-1] += part
        else:
            out.append(part)
    return out
