"""A call and an endpoint in, the request that asks it out; its answer in, checked numbers out. One place for every dialect that an endpoint may speak. Pure."""

from __future__ import annotations

from emberank.contract.errors import BadRequest
from emberank.contract.fleet import Endpoint
from emberank.contract.inference import EmbedCall, RankCall
from emberank.dialects import nim
from emberank.dialects.answers import Embeddings, Ranking, read_embeddings, read_ranking
from emberank.dialects.cohere_outgoing import read_rerank, write_rerank


def path_of(call: RankCall | EmbedCall, endpoint: Endpoint) -> str:
    """Where the endpoint takes such a call."""
    return endpoint.path or ("/v1/ranking" if isinstance(call, RankCall) else "/v1/embeddings")


def write(call: RankCall | EmbedCall, endpoint: Endpoint, name: str) -> bytes:
    """The body, under the name by which the endpoint knows the model. Raises BadRequest for what it could not be asked for."""
    if isinstance(call, EmbedCall):
        if endpoint.dialect == "cohere":
            raise BadRequest("embeddings cannot be had here: the model runs on a server that is asked in Cohere's rerank")
        return nim.write_embeddings(call, name)
    if endpoint.dialect == "cohere":
        _refuse_pieces(call)
        return write_rerank(call, endpoint, name)
    if endpoint.dialect != "emberank":
        _refuse_pieces(call)
        _refuse_cuts(call)
    return nim.write_ranking(call, name)


def unsaid(call: RankCall | EmbedCall, endpoint: Endpoint) -> tuple[str, ...]:
    """Fields of the call that the endpoint's wire has no words for, and that it answers without: its caller is told."""
    # A Cohere server cuts what is too long for it: it cannot be told not to.
    return ("truncate",) if endpoint.dialect == "cohere" and call.truncate == "NONE" else ()


def _refuse_pieces(call: RankCall) -> None:
    """What somebody else's server would not know, and what would change the answer."""
    if call.max_chunks is not None:
        raise BadRequest("max_chunks_per_doc cannot be had here: the model runs on a server that does not read long documents in pieces")


def _refuse_cuts(call: RankCall) -> None:
    if call.max_passage_tokens is not None:
        raise BadRequest("max_tokens_per_doc cannot be had here: the model runs on a server that does not cut documents by tokens")


def read_rank(call: RankCall, endpoint: Endpoint, body: bytes) -> Ranking:
    """Every passage of the call with its logit. Raises ServerFault for an answer that is not whole."""
    if endpoint.dialect == "cohere":
        return read_rerank(body, len(call.passages), endpoint)
    return read_ranking(body, len(call.passages), pieces=endpoint.dialect == "emberank")


def read_embed(call: EmbedCall, endpoint: Endpoint, body: bytes) -> Embeddings:
    """A vector for every input. Raises ServerFault as well."""
    return read_embeddings(body, len(call.inputs), call.embedding_type)
