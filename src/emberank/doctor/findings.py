"""Facts in, what is off out, the worst first: each with what shows it and what to do about it. Pure. What clients need is of their measured behaviour."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from emberank.doctor.address import is_local
from emberank.doctor.asker import WRONG_KEY
from emberank.doctor.findings_answers import of_answers
from emberank.doctor.heard import Heard
from emberank.doctor.report import SEVERITIES, Facts, Finding
from emberank.doctor.verdict import Verdict


def of(facts: Facts) -> tuple[Finding, ...]:
    """All of them; of equal weight in the order in which they were looked for."""
    found = [*_door(facts)]
    if facts.reached:
        found += [*_tasks(facts), *_routes(facts), *of_answers(facts), *_manners(facts), *_bounds(facts)]
    return tuple(sorted(dict.fromkeys(found), key=lambda finding: SEVERITIES.index(finding.severity)))


def _door(facts: Facts) -> Iterator[Finding]:
    """Whether it can be reached, and with which key."""
    first = facts.first
    if not facts.reached:
        said = first.said() if first is not None else "nothing was heard"
        advice = {
            "certificate": "use a certificate that this machine trusts, or point SSL_CERT_FILE at the authority that signed it",
            "not TLS": "use http:// if the port speaks plain HTTP; else look at which versions of TLS the server allows",
            "not HTTP": "check the port: something that does not speak HTTP listens there (a TLS port needs https://)",
            "no answer": "the connection was taken and nothing came back: look at the server's log, and at what stands in front of it",
        }
        yield Finding(
            severity="broken",
            what=f"{facts.base} cannot be reached",
            evidence=said,
            advice=advice.get(
                first.trouble or "" if first else "", "check host and port, and that the server listens on an address that can be reached from here"
            ),
        )
        return
    if first is not None and first.redirects:
        yield Finding(
            severity="broken",
            what="requests are sent elsewhere",
            evidence=first.said(),
            advice="use the address it redirects to: most clients do not follow on a POST",
        )
    if facts.base.startswith("http://") and not is_local(facts.base) and facts.access is not None and not facts.access.open:
        yield Finding(
            severity="off",
            what="the key goes over the network in the clear",
            evidence=f"{facts.base} is plain HTTP",
            advice="put TLS in front of it, and use https://",
        )
    yield from _keys(facts)


def _keys(facts: Facts) -> Iterator[Finding]:
    access = facts.access
    if access is None:
        return
    if access.refused is not None:
        what, advice = ("the key is not accepted", "use another key") if access.given else ("a key is needed", "give it with --key-env NAME")
        yield Finding(severity="broken", what=what, evidence=access.refused.said(), advice=advice)
        return
    wrong = access.wrong
    if access.open or wrong is None or wrong.trouble is not None:
        return
    if wrong.ok:
        yield Finding(
            severity="broken", what="any key is accepted", evidence=f"the key {WRONG_KEY!r} was answered", advice="check how the server compares keys"
        )
    elif wrong.status != 401:
        yield Finding(
            severity="off", what=f"a wrong key gets {wrong.status}, not 401", evidence=wrong.said(),
            advice="clients report something else than a wrong key; a server that can should answer 401",
        )  # fmt: skip


def _tasks(facts: Facts) -> Iterator[Finding]:
    """Whether it does anything at all."""
    if facts.rank.best is not None or facts.embed.best is not None or (facts.access is not None and facts.access.refused is not None):
        return
    seen = next((one.heard for one in facts.verdicts if one.heard is not None and one.state != "absent"), None)
    yield Finding(
        severity="broken",
        what="nothing here reranks or embeds in any dialect that is known here",
        evidence=seen.said() if seen is not None else "every route is missing",
        advice="check the base URL (the part before /v1), and name a model with --model",
    )


def _routes(facts: Facts) -> Iterator[Finding]:
    """Routes that answer, and not as their clients need it. One that refuses for want of a task or a model is not off."""
    for spoken in (facts.rank, facts.embed):
        verdicts: tuple[Verdict[Any], ...] = spoken.verdicts
        doubtful = [one for one in verdicts if one.state == "order"]
        if doubtful and len(doubtful) == sum(one.spoken for one in verdicts):
            yield _all_doubtful(doubtful)
            doubtful = []
        for one in doubtful:
            yield Finding(
                severity="broken",
                what=f"{one.path} ({one.route.family}) gives other results than its neighbours",
                evidence=one.why,
                advice=f"do not use it: {one.route.clients}",
            )
        for one in verdicts:
            if one.state == "shape" and spoken.best is not None:
                yield Finding(
                    severity="broken", what=f"{one.path} answers {one.route.family} requests with something that its clients cannot read",
                    evidence=one.why, advice=f"use another route with {one.route.clients}",
                )  # fmt: skip
            elif one.state == "refused" and one.heard is not None and one.heard.status >= 500 and spoken.best is not None:
                yield Finding(
                    severity="off",
                    what=f"{one.path} fails on a plain {one.route.family} request",
                    evidence=one.heard.said(),
                    advice="look at the server's log; use another route",
                )
            elif one.state == "silent" and spoken.best is not None:
                yield Finding(severity="broken", what=f"{one.path} does not answer", evidence=one.why, advice="use another route")


def _all_doubtful(doubtful: list[Verdict[Any]]) -> Finding:
    random = any(one.heard is not None and one.heard.header("emberank-random-weights") for one in doubtful)
    why = "its weights are random numbers" if random else "the model may not know English, may be no model for this task, or has lost part of its weights"
    task = "rerank" if doubtful[0].route.task == "rank" else "embeddings"
    return Finding(
        severity="off",
        what=f"no {task} route finds the passage that answers an easy question",
        evidence=f"{doubtful[0].path}: {doubtful[0].why}",
        advice=f"{why}: measure it on your own data (emberank eval)",
    )


def _manners(facts: Facts) -> Iterator[Finding]:
    seen = facts.manners
    if seen is None:
        return
    slashes = seen.heard["double slash"]
    if slashes.status and not slashes.ok:
        yield Finding(
            severity="note", what="a double slash in a path is not taken", evidence=slashes.said(),
            advice="write base URLs without a slash at their end: voyageai, LlamaIndex TEI and Open WebUI put paths behind them as they are",
        )  # fmt: skip
    slash = seen.heard["slash"]
    if slash.redirects:
        yield Finding(
            severity="note",
            what="a slash at the end of a path is answered with a redirect",
            evidence=slash.said(),
            advice="write full URLs without a slash at their end: most clients do not follow on a POST",
        )
    yield from _errors(seen.heard)
    if seen.p50_ms is not None and seen.p50_ms > 2_000:
        yield Finding(
            severity="off", what="it is slower than some clients wait", evidence=f"a request of four short passages takes {seen.p50_ms:.0f} ms",
            advice="LlamaIndex's NVIDIARerank, jina-haystack and Dify's Jina and Voyage give up after 5 s: send few passages at a time, or use a faster target",
        )  # fmt: skip


def _errors(heard: dict[str, Heard] | Any) -> Iterator[Finding]:
    """What bad requests are answered with."""
    failed = [one for one in heard.values() if one.status >= 500]
    if failed:
        yield Finding(
            severity="off",
            what="bad requests are answered as failures of the server",
            evidence=failed[0].said(),
            advice="clients try again what can never work; check bodies before they are sent",
        )
    dropped = [one for one in heard.values() if one.trouble in ("broken off", "no answer")]
    if dropped:
        yield Finding(severity="broken", what="bad requests get no answer", evidence=dropped[0].said(), advice="check bodies before they are sent")
    refusals = [one for one in heard.values() if 400 <= one.status < 500]
    unread = [one for one in refusals if not one.fields]
    if unread:
        yield Finding(severity="off", what="refusals are no JSON objects", evidence=unread[0].said(), advice="clients show their users no reason")
    lists = [one for one in refusals if isinstance(one.fields.get("detail"), list)]
    if lists:
        yield Finding(
            severity="note", what="refusals carry a list as their `detail`", evidence=lists[0].said(),
            advice="voyageai fails while it prints such an error; the other clients show it as it is",
        )  # fmt: skip
    unknown = heard["no such model"]
    if unknown.ok:
        yield Finding(
            severity="note",
            what="a model that does not exist is answered by another",
            evidence=unknown.said(),
            advice="a wrong name in a client's settings goes unnoticed here: check it yourself",
        )


def _bounds(facts: Facts) -> Iterator[Finding]:
    """Limits that some client runs into."""
    for found in facts.passages:
        if found.dropped:
            yield Finding(
                severity="broken",
                what=f"{found.path} leaves passages out without a word",
                evidence=found.said,
                advice=f"send at most {found.most} passages in one request",
            )
        elif found.refused is not None and found.most < 100:
            yield Finding(
                severity="off",
                what=f"one request to {found.path} may hold {found.most} passages only",
                evidence=f"{found.refused} passages → {found.said}",
                advice="LangChain sends 32 and LlamaIndex 64 at a time, Open WebUI, Dify and RAGFlow all that they have: lower their numbers of candidates",
            )
    for one in facts.long:
        if one.outcome == "failed":
            yield Finding(
                severity="broken",
                what=f"an over-long passage makes {one.path} fail",
                evidence=f"{one.words} words → {one.said}",
                advice="cut passages before they are sent",
            )
        elif one.outcome == "silent":
            yield Finding(
                severity="off",
                what=f"{one.path} ({one.family}) does not answer an over-long passage in time",
                evidence=f"{one.words} words → {one.said}",
                advice="split long documents before they are sent; look into the server's log whether it is slow or has failed",
            )
        elif one.outcome == "cut" and not one.told:
            yield Finding(
                severity="note", what=f"{one.path} ({one.family}) cuts over-long passages without a word", evidence=f"two passages of {one.words} words that differ at their end scored the same",
                advice="split long documents before they are sent" + (", or send truncate NONE to have them refused" if one.none == "refused" else ""),
            )  # fmt: skip
        elif one.outcome == "refused":
            cure = ", or send truncate END to have it cut" if one.end == "cut" else ""
            yield Finding(
                severity="note",
                what=f"one over-long passage makes {one.path} ({one.family}) refuse the whole request",
                evidence=f"{one.words} words → {one.said}",
                advice="split long documents before they are sent" + cure,
            )
    if facts.spent:
        yield Finding(
            severity="note",
            what="not everything was tried",
            evidence=f"{facts.requests} requests, {facts.sent_bytes} bytes, {facts.seconds:.0f} s",
            advice="give it more time with --timeout, or --deep",
        )
