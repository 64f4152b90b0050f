"""A BEIR-style folder in, a collection of documents, queries and judgements out. Does not know how anything is searched or measured.

The folder holds `corpus.jsonl` ({_id, title, text}), `queries.jsonl` ({_id, text}) and `qrels.tsv` or `qrels/test.tsv`
(a header line, then query-id, corpus-id and score between tabs).
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from emberank.contract.errors import StartError

_CORPUS = "corpus.jsonl"
_QUERIES = "queries.jsonl"
_JUDGEMENTS = ("qrels.tsv", "qrels/test.tsv")
_HEADER = ["query-id", "corpus-id", "score"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Collection:
    """What is searched and what is right. `queries` and `judgements` have the same keys: the queries that are measured."""

    name: str
    documents: dict[str, str]
    queries: dict[str, str]
    judgements: dict[str, dict[str, int]]
    unjudged_queries: int = 0
    missing_documents: int = 0


@dataclass(frozen=True, slots=True)
class _Judgement:
    """One line of the judgements, and where it stands."""

    query: str
    document: str
    grade: int
    place: str


def load_collection(folder: Path, first_queries: int | None = None) -> Collection:
    """Read the folder. `first_queries` keeps that many judged queries, in the order of queries.jsonl."""
    documents = {id_: _passage(row) for id_, row in _rows(folder, _CORPUS)}
    texts = {id_: row["text"] for id_, row in _rows(folder, _QUERIES)}
    judged = _judgements(folder)
    _check_queries(judged, texts)
    _check_documents(judged, documents)
    grades = _by_query(judged)
    kept = [query for query in texts if query in grades][:first_queries]
    return Collection(
        name=folder.resolve().name,
        documents=documents,
        queries={query: texts[query] for query in kept},
        judgements={query: grades[query] for query in kept},
        unjudged_queries=len(texts) - len(grades),
        missing_documents=len({document for query in kept for document in grades[query]} - documents.keys()),
    )


def _passage(row: dict[str, Any]) -> str:
    """Title and text as one passage. Some collections (Cranfield) open the text with the title; it is not said twice."""
    title, text = str(row["title"]).strip(), str(row["text"]).strip()
    return text if text.startswith(title) else f"{title} {text}".strip()


def _rows(folder: Path, name: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """The objects of a .jsonl file with their ids, checked, each with a `title` and a `text`."""
    seen: set[str] = set()
    for place, line in _lines(folder, name):
        try:
            row = json.loads(line)
        except ValueError as error:
            raise StartError(f"{place}: not JSON: {error}") from error
        id_ = _checked_id(row, place)
        if id_ in seen:
            raise StartError(f"{place}: _id {id_!r} appears twice")
        seen.add(id_)
        row.setdefault("title", "")
        if not isinstance(row.get("text"), str) or not isinstance(row["title"], str):
            raise StartError(f"{place}: `text` has to be a string, and `title`, where there is one, too")
        yield id_, row
    if not seen:
        raise StartError(f"{name}: empty")


def _checked_id(row: object, place: str) -> str:
    id_ = row.get("_id") if isinstance(row, dict) else None
    # Run files and judgements separate their columns by white space, so an id with a space would come back as two.
    if not isinstance(id_, str) or id_.split() != [id_]:
        raise StartError(f"{place}: expected an object whose `_id` is a string without spaces")
    return id_


def _judgements(folder: Path) -> list[_Judgement]:
    name = next((name for name in _JUDGEMENTS if (folder / name).is_file()), None)
    if name is None:
        raise StartError(f"no judgements in {str(folder)!r}: expected {' or '.join(_JUDGEMENTS)}")
    lines = _lines(folder, name)
    place, header = next(lines, (f"{name}:1", b""))
    if header.decode("utf-8-sig", "replace").split() != _HEADER:
        raise StartError(f"{place}: expected the header `query-id corpus-id score`, between tabs")
    judged = [_judgement(place, line) for place, line in lines]
    if not judged:
        raise StartError(f"{name}: no judgements below the header")
    return judged


def _judgement(place: str, line: bytes) -> _Judgement:
    try:
        query, document, grade = line.decode().split()
        # Some collections grade "worse than useless" with -1; the measures know only "not relevant".
        return _Judgement(query, document, max(0, int(grade)), place)
    except ValueError as error:
        raise StartError(f"{place}: expected a query id, a document id and a whole number, between tabs") from error


def _check_queries(judged: list[_Judgement], queries: dict[str, str]) -> None:
    """A judged query without a text is refused: leaving it out would make an average that cannot be compared with anyone's."""
    for judgement in judged:
        if judgement.query not in queries:
            raise StartError(f"{judgement.place}: query {judgement.query!r} is not in {_QUERIES}")


def _check_documents(judged: list[_Judgement], documents: dict[str, str]) -> None:
    """Single missing documents count as not found, as in trec_eval. When all are missing, this is another collection's corpus."""
    if not any(judgement.document in documents for judgement in judged):
        raise StartError(f"{judged[0].place}: document {judged[0].document!r} is not in {_CORPUS}, and neither is any other judged document")


def _by_query(judged: list[_Judgement]) -> dict[str, dict[str, int]]:
    grades: dict[str, dict[str, int]] = {}
    for judgement in judged:
        known = grades.setdefault(judgement.query, {}).setdefault(judgement.document, judgement.grade)
        if known != judgement.grade:
            raise StartError(f"{judgement.place}: query {judgement.query!r} and document {judgement.document!r} were judged before, as {known}")
    return grades


def _lines(folder: Path, name: str) -> Iterator[tuple[str, bytes]]:
    """The lines that are not blank, each with its place as `file:line`."""
    try:
        with (folder / name).open("rb") as file:
            for number, line in enumerate(file, 1):
                if line.strip():
                    yield f"{name}:{number}", line
    except OSError as error:
        raise StartError(f"{name} in {str(folder)!r} cannot be read: {error.strerror}") from error
