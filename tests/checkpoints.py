"""A folder in, a tiny checkpoint with random weights written there: an embedder as sentence-transformers lays it out, or a cross-encoder.

The weights are large (a standard deviation of 0.2 and more), so that attention is far from uniform and a mistake in it shows.
"""

from __future__ import annotations

import json
import string
import struct
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tokenizers import Tokenizer
from tokenizers.models import WordPiece
from tokenizers.normalizers import BertNormalizer
from tokenizers.pre_tokenizers import BertPreTokenizer
from tokenizers.processors import TemplateProcessing

HIDDEN, LAYERS, HEADS, WIDE, POSITIONS, LIMIT = 64, 2, 4, 128, 512, 48
SPECIAL = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")
WORDS = ("the", "of", "and", "snow", "road", "wood", "ice", "red", "hot", "which", "way", "should", "go", "warm", "ember", "rank")
PIECES = (*string.ascii_lowercase, *(f"##{letter}" for letter in string.ascii_lowercase), *string.digits, *string.punctuation, "雪", "道", "林", "##ing", "##s")
VOCABULARY = {piece: place for place, piece in enumerate(dict.fromkeys((*SPECIAL, *WORDS, *PIECES)))}

_LINEARS = (
    *((f"attention.self.{part}", HIDDEN, HIDDEN) for part in ("query", "key", "value")),
    ("attention.output.dense", HIDDEN, HIDDEN),
    ("intermediate.dense", WIDE, HIDDEN),
    ("output.dense", HIDDEN, WIDE),
)

Weights = dict[str, NDArray[np.float32]]


def write_embedder(folder: Path, seed: int = 7) -> Path:
    """A BertModel: mean pooling, normalised, at most 48 tokens, prompts for both input types."""
    _write(folder, _body(np.random.default_rng(seed)), "BertModel")
    (folder / "modules.json").write_text(
        json.dumps(
            [
                {"idx": 0, "name": "0", "path": "", "type": "sentence_transformers.models.Transformer"},
                {"idx": 1, "name": "1", "path": "1_Pooling", "type": "sentence_transformers.models.Pooling"},
                {"idx": 2, "name": "2", "path": "2_Normalize", "type": "sentence_transformers.models.Normalize"},
            ]
        )
    )
    (folder / "1_Pooling").mkdir()
    (folder / "1_Pooling" / "config.json").write_text(json.dumps({"word_embedding_dimension": HIDDEN, "pooling_mode_mean_tokens": True}))
    (folder / "sentence_bert_config.json").write_text(json.dumps({"max_seq_length": LIMIT, "do_lower_case": False}))
    return folder


def write_ranker(folder: Path, seed: int = 8) -> Path:
    """A BertForSequenceClassification with one label; its body under `bert.`, as transformers saves it."""
    random = np.random.default_rng(seed)
    weights = {f"bert.{name}": array for name, array in _body(random).items()}
    weights |= {"classifier.weight": _normal(random, 1, HIDDEN), "classifier.bias": _normal(random, 1)}
    _write(folder, weights, "BertForSequenceClassification", id2label={"0": "LABEL_0"}, label2id={"LABEL_0": 0})
    return folder


def tokenizer() -> Tokenizer:
    """WordPiece as BERT's, with truncation and padding switched on, as published files often have them."""
    made = Tokenizer(WordPiece(VOCABULARY, unk_token="[UNK]", max_input_chars_per_word=100))
    made.normalizer = BertNormalizer(lowercase=True)
    made.pre_tokenizer = BertPreTokenizer()
    made.add_special_tokens(list(SPECIAL))
    made.post_processor = TemplateProcessing(
        single="[CLS]:0 $A:0 [SEP]:0",
        pair="[CLS]:0 $A:0 [SEP]:0 $B:1 [SEP]:1",
        special_tokens=[(word, VOCABULARY[word]) for word in ("[CLS]", "[SEP]")],
    )
    made.enable_truncation(16)
    made.enable_padding(length=20, pad_id=VOCABULARY["[PAD]"])
    return made


def config(architecture: str, **more: Any) -> dict[str, Any]:
    """A config.json as transformers writes it."""
    sizes = {"hidden_size": HIDDEN, "num_hidden_layers": LAYERS, "num_attention_heads": HEADS, "intermediate_size": WIDE, "vocab_size": len(VOCABULARY)}
    return {"architectures": [architecture], "model_type": "bert", "max_position_embeddings": POSITIONS, "type_vocab_size": 2} | sizes | more


def write_safetensors(path: Path, weights: Weights) -> None:
    """The format by hand: a header with each tensor's place, then the numbers."""
    header, data = {}, b""
    for name, array in weights.items():
        header[name] = {"dtype": "F32", "shape": list(array.shape), "data_offsets": [len(data), len(data) + array.nbytes]}
        data += array.tobytes()
    head = json.dumps({"__metadata__": {"format": "pt"}, **header}).encode()
    path.write_bytes(struct.pack("<Q", len(head)) + head + data)


def _write(folder: Path, weights: Weights, architecture: str, **more: Any) -> None:
    folder.mkdir(parents=True)
    (folder / "config.json").write_text(json.dumps(config(architecture, **more)))
    tokenizer().save(str(folder / "tokenizer.json"))
    write_safetensors(folder / "model.safetensors", weights)


def _body(random: np.random.Generator) -> Weights:
    weights = {
        "embeddings.word_embeddings.weight": _normal(random, len(VOCABULARY), HIDDEN),
        "embeddings.position_embeddings.weight": _normal(random, POSITIONS, HIDDEN),
        "embeddings.token_type_embeddings.weight": _normal(random, 2, HIDDEN),
        "pooler.dense.weight": _normal(random, HIDDEN, HIDDEN),
        "pooler.dense.bias": _normal(random, HIDDEN),
    }
    norms = ["embeddings.LayerNorm"]
    for layer in range(LAYERS):
        at = f"encoder.layer.{layer}"
        for name, out, into in _LINEARS:
            weights |= {f"{at}.{name}.weight": _normal(random, out, into), f"{at}.{name}.bias": _normal(random, out)}
        norms += [f"{at}.attention.output.LayerNorm", f"{at}.output.LayerNorm"]
    for norm in norms:
        weights |= {f"{norm}.weight": 1 + _normal(random, HIDDEN), f"{norm}.bias": _normal(random, HIDDEN)}
    return weights


def _normal(random: np.random.Generator, *shape: int) -> NDArray[np.float32]:
    return random.normal(0, 0.25, shape).astype(np.float32)
