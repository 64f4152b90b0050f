from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from emberank.contract.errors import StartError
from emberank.evaluate.collection import load_collection

HEADER = "query-id\tcorpus-id\tscore\n"


def test_only_judged_queries_are_measured_and_the_others_are_counted(tiny: Path) -> None:
    collection = load_collection(tiny)
    assert list(collection.queries) == ["q-lift", "q-heat", "q-layer"]
    assert collection.judgements["q-heat"] == {"heat": 1, "plate": 0}
    assert (collection.name, collection.unjudged_queries, collection.missing_documents) == ("tiny", 1, 0)


def test_a_title_is_put_before_the_text_unless_the_text_begins_with_it(tiny: Path) -> None:
    documents = load_collection(tiny).documents
    assert documents["wing"] == "wing lift grows with the angle of attack"
    assert documents["plate"] == "Flat plate heat transfer at a plate"
    assert documents["twin1"] == "boundary layer suction"
    assert documents["void"] == ""


def test_the_first_queries_are_the_first_judged_ones(tiny: Path) -> None:
    collection = load_collection(tiny, first_queries=2)
    assert list(collection.queries) == list(collection.judgements) == ["q-lift", "q-heat"]
    assert collection.unjudged_queries == 1


def test_judgements_are_also_found_where_beir_keeps_them(write_collection: Callable[..., Path]) -> None:
    assert len(load_collection(write_collection(qrels_name="qrels/test.tsv")).queries) == 3


def test_a_judged_document_that_the_corpus_lacks_is_counted(write_collection: Callable[..., Path]) -> None:
    collection = load_collection(write_collection(qrels=HEADER + "q-lift\twing\t1\nq-lift\tgone\t2\n"))
    assert collection.missing_documents == 1
    assert collection.judgements["q-lift"] == {"wing": 1, "gone": 2}


def test_a_negative_grade_is_not_relevant(write_collection: Callable[..., Path]) -> None:
    assert load_collection(write_collection(qrels=HEADER + "q-lift\twing\t-1\n")).judgements == {"q-lift": {"wing": 0}}


def test_blank_lines_a_byte_order_mark_and_windows_line_ends_are_read_over(write_collection: Callable[..., Path]) -> None:
    folder = write_collection(queries='\ufeff{"_id": "q-lift", "text": "lift"}\r\n\r\n', qrels="\ufeff" + HEADER.strip() + "\r\nq-lift\twing\t1\r\n\r\n")
    assert load_collection(folder).queries == {"q-lift": "lift"}


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ({"corpus": '{"_id": "wing", "text": "x"}\n\n{"_id": '}, "corpus.jsonl:3: not JSON"),
        ({"corpus": '{"text": "x"}'}, "corpus.jsonl:1: expected an object whose `_id`"),
        ({"corpus": "[1]"}, "corpus.jsonl:1: expected an object whose `_id`"),
        ({"corpus": '{"_id": "two words", "text": "x"}'}, "corpus.jsonl:1: .*without spaces"),
        ({"corpus": '{"_id": "a", "text": "x"}\n{"_id": "a", "text": "y"}'}, "corpus.jsonl:2: _id 'a' appears twice"),
        ({"corpus": '{"_id": "a", "title": "x"}'}, "corpus.jsonl:1: `text` has to be a string"),
        ({"corpus": '{"_id": "a", "text": "x", "title": null}'}, "corpus.jsonl:1: .*`title`"),
        ({"corpus": "\n"}, "corpus.jsonl: empty"),
        ({"qrels": ""}, "qrels.tsv:1: expected the header"),
        ({"qrels": "q-lift\twing\t1\n"}, "qrels.tsv:1: expected the header"),
        ({"qrels": HEADER}, "qrels.tsv: no judgements"),
        ({"qrels": HEADER + "q-lift\twing\n"}, "qrels.tsv:2: expected a query id"),
        ({"qrels": HEADER + "q-lift\twing\tmuch\n"}, "qrels.tsv:2: expected a query id"),
        ({"qrels": HEADER + "q-lift\twing\t1\nq-gone\twing\t1\n"}, "qrels.tsv:3: query 'q-gone' is not in queries.jsonl"),
        ({"qrels": HEADER + "q-lift\tgone\t1\n"}, "qrels.tsv:2: document 'gone' is not in corpus.jsonl, and neither"),
        ({"qrels": HEADER + "q-lift\twing\t1\nq-lift\twing\t2\n"}, "qrels.tsv:3: .*were judged before, as 1"),
        ({"qrels_name": "other.tsv"}, "expected qrels.tsv or qrels/test.tsv"),
    ],
)
def test_a_fault_is_named_with_its_file_and_line(write_collection: Callable[..., Path], files: dict[str, str], message: str) -> None:
    with pytest.raises(StartError, match=message):
        load_collection(write_collection(**files))


def test_bytes_that_are_not_utf_8_are_named_with_their_line(tiny: Path) -> None:
    (tiny / "queries.jsonl").write_bytes(b'{"_id": "a", "text": "\xff\xfe"}\n')
    with pytest.raises(StartError, match=r"queries\.jsonl:1: not JSON"):
        load_collection(tiny)


def test_a_missing_file_is_named(tiny: Path) -> None:
    (tiny / "corpus.jsonl").unlink()
    with pytest.raises(StartError, match=r"corpus\.jsonl in .* cannot be read: No such file"):
        load_collection(tiny)
