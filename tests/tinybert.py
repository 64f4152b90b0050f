"""A folder in, a tiny BERT checkpoint in it out: real files, random weights, a few kilobytes."""

from __future__ import annotations

import json
import struct
from pathlib import Path

import numpy as np
from tokenizers import Tokenizer
from tokenizers.models import WordPiece
from tokenizers.normalizers import BertNormalizer
from tokenizers.pre_tokenizers import BertPreTokenizer
from tokenizers.processors import TemplateProcessing

WORDS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "the", "a", "in", "which", "way", "should", "i", "go", "road", "wood", "snow", "ice", "red", "hot"]
HIDDEN, LAYERS, WIDE, POSITIONS = 16, 2, 32, 40


def write_checkpoint(folder: Path, *, ranks: bool, seed: int = 7) -> Path:
    """A BERT of 16 dimensions and 40 positions with random weights: an embedder, or a cross-encoder when it `ranks`."""
    folder.mkdir(parents=True)
    config = {"model_type": "bert", "architectures": ["BertForSequenceClassification" if ranks else "BertModel"], "hidden_size": HIDDEN}
    config |= {"num_hidden_layers": LAYERS, "num_attention_heads": 2, "intermediate_size": WIDE, "vocab_size": len(WORDS), "num_labels": 1}
    config |= {"max_position_embeddings": POSITIONS, "type_vocab_size": 2, "id2label": {"0": "LABEL_0"}}
    (folder / "config.json").write_text(json.dumps(config))
    tokenizer = Tokenizer(WordPiece({word: i for i, word in enumerate(WORDS)}, unk_token="[UNK]"))
    tokenizer.normalizer = BertNormalizer()
    tokenizer.pre_tokenizer = BertPreTokenizer()
    tokenizer.post_processor = TemplateProcessing(
        single="[CLS]:0 $A:0 [SEP]:0", pair="[CLS]:0 $A:0 [SEP]:0 $B:1 [SEP]:1", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    tokenizer.save(str(folder / "tokenizer.json"))
    write_safetensors(folder / "model.safetensors", weights_of(np.random.default_rng(seed), ranks))
    return folder


def weights_of(random: np.random.Generator, ranks: bool) -> dict[str, np.ndarray]:
    at = "bert." if ranks else ""
    shapes: dict[str, tuple[int, ...]] = {f"{at}embeddings.{kind}_embeddings.weight": (rows, HIDDEN) for kind, rows in _TABLES}
    layers = [f"{at}encoder.layer.{i}." for i in range(LAYERS)]
    for layer in layers:
        for name, out, into in _LINEARS:
            shapes |= {f"{layer}{name}.weight": (out, into), f"{layer}{name}.bias": (out,)}
    if ranks:
        shapes |= {"bert.pooler.dense.weight": (HIDDEN, HIDDEN), "bert.pooler.dense.bias": (HIDDEN,), "classifier.weight": (1, HIDDEN), "classifier.bias": (1,)}
    weights = {name: random.normal(0, 0.3, shape).astype(np.float32) for name, shape in shapes.items()}
    for norm in [f"{at}embeddings.LayerNorm", *(f"{layer}{part}.LayerNorm" for layer in layers for part in ("attention.output", "output"))]:
        weights |= {f"{norm}.weight": np.ones(HIDDEN, np.float32), f"{norm}.bias": np.zeros(HIDDEN, np.float32)}
    return weights


_TABLES = (("word", len(WORDS)), ("position", POSITIONS), ("token_type", 2))
_LINEARS = (
    *((f"attention.self.{part}", HIDDEN, HIDDEN) for part in ("query", "key", "value")),
    ("attention.output.dense", HIDDEN, HIDDEN),
    ("intermediate.dense", WIDE, HIDDEN),
    ("output.dense", HIDDEN, WIDE),
)


def write_safetensors(path: Path, weights: dict[str, np.ndarray]) -> None:
    header, data = {}, b""
    for name, array in weights.items():
        header[name] = {"dtype": "F32", "shape": list(array.shape), "data_offsets": [len(data), len(data) + array.nbytes]}
        data += array.tobytes()
    head = json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(head)) + head + data)
