"""Answers that have the right shape in, what is off in their numbers and fields out: scales, top_n, documents, base64, model lists. Pure."""

from __future__ import annotations

from collections.abc import Iterator

from emberank.doctor.kind import LITELLM
from emberank.doctor.report import Facts, Finding
from emberank.doctor.scale import Scaled, is_bounded, looks_twice
from emberank.doctor.verdict import cosine


def of_answers(facts: Facts) -> Iterator[Finding]:
    """In the order of what they cost a user who does not know."""
    yield from _scales(facts)
    yield from _fields(facts)
    yield from _base64(facts)
    yield from _lists(facts)


def _scales(facts: Facts) -> Iterator[Finding]:
    groups: dict[tuple[str, str, tuple[float, ...]], list[Scaled]] = {}
    for one in facts.scales:
        groups.setdefault((one.family, one.scale, one.scores), []).append(one)
    for alike in groups.values():
        yield from _scale(facts, alike[0], f"{', '.join(one.path for one in alike)} ({alike[0].family})")
    if facts.raw_honoured is False and all(is_bounded(one.scores) for one in facts.scales):
        yield Finding(
            severity="note",
            what="raw_scores changes nothing",
            evidence="the same scores with raw_scores true",
            advice="take raw logits from /v1/ranking where there is one",
        )


def _scale(facts: Facts, one: Scaled, where: str) -> Iterator[Finding]:
    """Of routes that gave the same scores."""
    if one.family in ("cohere", "tei") and one.scale == "logit" and not is_bounded(one.scores):
        cure = "set thresholds on logits, or apply 1 / (1 + e^-x)"
        if facts.kind.name == LITELLM:
            cure = "let the proxy ask a route that gives bounded scores, with cohere/… in the place of nvidia_nim/… in its config, or set thresholds on logits"
        yield Finding(
            severity="off",
            what=f"{where} gives raw logits where its clients expect scores between 0 and 1",
            evidence=one.shown(),
            advice=f"thresholds of Open WebUI, Dify and LangChain mean something else here, and RAGFlow rescales each answer by itself: {cure}",
        )
    elif one.scale == "twice":
        yield Finding(
            severity="off",
            what=f"{where} applies the sigmoid twice",
            evidence=f"{one.shown()}, while another route says {_logits(facts)}",
            advice="scores lie between 0.5 and 0.73 and no threshold separates them: have it applied once, on one side",
        )
    elif one.scale == "bounded" and looks_twice(one.scores):
        yield Finding(
            severity="off",
            what=f"{where} looks as if the sigmoid were applied twice",
            evidence=f"{one.shown()}: all between 0.5 and 0.731",
            advice="look for a gateway that applies a sigmoid to scores that have one already; ask for raw_scores on one side",
        )
    elif one.family == "nim" and is_bounded(one.scores) and _spread(one):
        yield Finding(
            severity="off",
            what=f"{where} gives scores between 0 and 1 as `logit`",
            evidence=one.shown(),
            advice="clients that apply a sigmoid themselves (Dify's NVIDIA plugin) apply it a second time",
        )
    elif one.scale == "other" and one.family in ("cohere", "tei"):
        yield Finding(
            severity="note",
            what=f"{where} has a scale of its own",
            evidence=f"{one.shown()}, while another route says {_logits(facts)}",
            advice="set thresholds for this route alone",
        )


def _spread(one: Scaled) -> bool:
    """Late interaction's logits may lie within [0, 1] by nature: a sigmoid of a clear case comes near both ends."""
    return max(one.scores) > 0.9 and min(one.scores) < 0.05


def _logits(facts: Facts) -> str:
    return next((one.shown() for one in facts.scales if one.scale == "logit"), "raw_scores does")


def _fields(facts: Facts) -> Iterator[Finding]:
    for verdict in facts.rank.verdicts:
        for odd in verdict.read.odd if verdict.read is not None else ():
            yield Finding(
                severity="off",
                what=f"an answer of {verdict.path} ({verdict.route.family}) breaks clients",
                evidence=odd,
                advice="these clients need another route, or another server",
            )
    for vectors in facts.embed.verdicts:
        for odd in vectors.read.odd if vectors.read is not None else ():
            yield Finding(
                severity="off", what=f"an answer of {vectors.path} breaks clients", evidence=odd, advice="these clients need another route, or another server"
            )
    for one in facts.told:
        if one.top_n is False and one.family == "cohere":
            yield Finding(
                severity="off",
                what=f"{one.path} does not honour top_n",
                evidence="more than one result came back for top_n 1",
                advice="cut the list on the client's side",
            )
        if one.documents == "null":
            yield Finding(
                severity="off", what=f"{one.path} answers return_documents with null", evidence='"document": null', advice="ask without return_documents"
            )


def _base64(facts: Facts) -> Iterator[Finding]:
    packed, plain = facts.base64, facts.embed.in_family("openai")
    if packed is None or plain is None or plain.read is None:
        return
    if plain.read.base64:
        yield Finding(
            severity="broken",
            what=f"{plain.path} answers in base64 unasked",
            evidence="encoding_format was left out",
            advice="LiteLLM leaves it out and needs numbers: set encoding_format there",
        )
    if packed.read is None:
        yield Finding(
            severity="broken",
            what=f"{packed.path} does not take encoding_format base64",
            evidence=packed.why,
            advice='OpenAI\'s SDK asks for it by default: pass encoding_format="float"',
        )
        return
    if not packed.read.base64:
        yield Finding(
            severity="note",
            what=f"{packed.path} answers in numbers when base64 is asked for",
            evidence="encoding_format base64",
            advice="OpenAI's SDK reads both",
        )
    if any(cosine(one, other) < 0.999 for one, other in zip(packed.read.rows, plain.read.rows)):
        yield Finding(
            severity="broken",
            what=f"{packed.path} gives other vectors in base64 than in numbers",
            evidence="cosine below 0.999",
            advice='pass encoding_format="float"',
        )


def _lists(facts: Facts) -> Iterator[Finding]:
    """What clients look for before they ask."""
    if facts.rank.best is None and facts.embed.best is None:
        return
    nim = facts.rank.at("/v1/ranking") is not None or facts.embed.at("/v1/embeddings") is not None
    if nim and "/v1/models" not in facts.listed_at:
        yield Finding(
            severity="off",
            what="there is no list of models at /v1/models",
            evidence="GET /v1/models",
            advice="LangChain and LlamaIndex look there: name the model in their settings; LlamaIndex's NVIDIARerank cannot do without",
        )
    names = {one.id for one in facts.models}
    for spoken in (facts.rank, facts.embed):
        if spoken.model and spoken.best is not None and names and spoken.model not in names:
            yield Finding(
                severity="note",
                what=f"the model {spoken.model!r} is answered and not listed under that name",
                evidence="GET /v1/models",
                advice="LlamaIndex's NVIDIARerank refuses names that are not listed",
            )
