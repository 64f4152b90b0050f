"""A call in, the provider's numbers out, through LiteLLM's SDK. The one place that knows LiteLLM; its answers are checked by whoever asked.

LiteLLM is imported when a bridge starts: it takes seconds. It is told to send no telemetry, fetch no price list and no tokenizer, and to try nothing twice,
for whoever stands before us does that.
"""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from emberank.bridge.faults import ProviderFault, fault_of
from emberank.contract.errors import BadRequest, DeadlineExceeded, EmberankError, SettingError
from emberank.contract.inference import EmbedCall, RankCall

log = logging.getLogger(__name__)

# What a provider calls a query and a passage; one that is not here is told nothing of it.
_INPUT_TYPES: Mapping[str, Mapping[str, str]] = {
    "cohere": {"query": "search_query", "passage": "search_document"},
    "voyage": {"query": "query", "passage": "document"},
    "nvidia_nim": {"query": "query", "passage": "passage"},
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Given:
    """What a provider gave: `rows` in Cohere's or OpenAI's words, unchecked. `cost_usd` is LiteLLM's reckoning, None where it knows no price."""

    rows: list[Any]
    tokens: int
    cost_usd: float | None
    unsaid: tuple[str, ...] = ()  # fields of the call that the provider could not be told


@dataclass(frozen=True, slots=True, kw_only=True)
class Provider:
    """One model of one provider. `sdk` is the module litellm."""

    sdk: Any
    model: str  # provider/name
    api_base: str = ""
    key: str = field(default="", repr=False)

    @property
    def name(self) -> str:
        """The provider's."""
        return self.model.partition("/")[0]

    async def rank(self, call: RankCall, timeout_s: float) -> Given:
        """A score for every passage. Raises BadRequest for what LiteLLM has no words for, and whatever `faults` makes of the provider's refusals."""
        if any(passage.image is not None for passage in call.passages):
            raise BadRequest(f"a passage holds an image, and {self.name} is asked by a wire that has texts only")
        fields: dict[str, Any] = {"query": call.query.text, "documents": [passage.text for passage in call.passages], "return_documents": False}
        fields |= {"max_tokens_per_doc": call.max_passage_tokens} if call.max_passage_tokens is not None else {}
        fields |= {"max_chunks_per_doc": call.max_chunks} if call.max_chunks is not None else {}
        answer = await self._asked(self.sdk.arerank, fields, timeout_s)
        return Given(rows=list(answer.get("results") or []), tokens=_tokens(answer), cost_usd=_cost(answer), unsaid=_truncate(call))

    async def embed(self, call: EmbedCall, timeout_s: float) -> Given:
        """A vector for every input; raises as well."""
        if any(content.image is not None for content in call.inputs):
            raise BadRequest(f"an input holds an image, and {self.name} is asked by a wire that has texts only")
        if call.embedding_type != "float":
            raise BadRequest(f"embedding_type {call.embedding_type!r} cannot be had of {self.name}: leave it out")
        fields: dict[str, Any] = {"input": [content.text for content in call.inputs]}
        fields |= {"dimensions": call.dimensions} if call.dimensions is not None else {}
        words, unsaid = _INPUT_TYPES.get(self.name), _truncate(call)
        if call.input_type is not None and words is not None:
            fields["input_type"] = words[call.input_type]
        elif call.input_type is not None:
            unsaid = (*unsaid, "input_type")
        answer = await self._asked(self.sdk.aembedding, fields, timeout_s)
        return Given(rows=[dict(row) for row in answer.get("data") or []], tokens=_tokens(answer), cost_usd=_cost(answer), unsaid=unsaid)

    async def _asked(self, ask: Any, fields: Mapping[str, Any], timeout_s: float) -> Any:
        given = {"api_key": self.key or None, "api_base": self.api_base or None, "timeout": timeout_s, "max_retries": 0, "num_retries": 0}
        try:
            async with asyncio.timeout(timeout_s):  # not every provider's client keeps to its own
                return await ask(model=self.model, **fields, **given)
        except EmberankError:
            raise
        except TimeoutError as cause:
            raise DeadlineExceeded(f"{self.name} did not answer in time") from cause
        except Exception as cause:  # noqa: BLE001  each provider's client has exceptions of its own
            error = fault_of(cause, self.name, self.key)
            if isinstance(error, ProviderFault):
                log.warning("a provider fails", extra={"action": "provider_failed", "provider": self.name, "kind": type(cause).__name__})
            raise error from None  # LiteLLM's exceptions hold the request, its texts and its key


def provider(model: str, *, key_env: str = "", api_base: str = "", environment: Mapping[str, str] = os.environ) -> Provider:
    """Load LiteLLM, and be ready to ask. Raises SettingError for a key that is not there, and where LiteLLM is not installed."""
    key = environment.get(key_env, "") if key_env else ""
    if key_env and not key:
        whose = f"which shall hold the key of {model.partition('/')[0]}"
        raise SettingError(f"the environment variable {key_env!r}, {whose}, is not set, and no secret of that name is kept here: emberank secret set {key_env}")
    os.environ["LITELLM_LOCAL_MODEL_COST_MAP"] = "True"  # read once, when it is imported
    try:
        import litellm
    except ImportError as cause:
        raise SettingError("litellm: needs LiteLLM's SDK: pip install 'emberank[litellm]'") from cause
    litellm.telemetry = False
    litellm.disable_hf_tokenizer_download = True
    litellm.suppress_debug_info = True  # it would print advice on standard output
    litellm.turn_off_message_logging = True
    litellm.drop_params = False  # what a provider does not know is refused, not left out
    litellm.num_retries = 0
    return Provider(sdk=litellm, model=model, api_base=api_base, key=key)


def _truncate(call: RankCall | EmbedCall) -> tuple[str, ...]:
    """Providers cut what is too long for them: LiteLLM has no one word to tell them not to."""
    return ("truncate",) if call.truncate == "NONE" else ()


def _tokens(answer: Any) -> int:
    """Of `usage` (embeddings) or `meta` (rerank); 0 where nobody says."""
    usage, meta = answer.get("usage"), answer.get("meta")
    tokens = _get(meta, "tokens")
    for said, name in ((usage, "prompt_tokens"), (tokens, "input_tokens"), (_get(meta, "billed_units"), "total_tokens")):
        found = _get(said, name)
        if type(found) is int and found > 0:
            return found
    return 0


def _get(value: Any, name: str) -> Any:
    return value.get(name) if isinstance(value, Mapping) else getattr(value, name, None)


def _cost(answer: Any) -> float | None:
    """What LiteLLM reckons from its price list."""
    cost = (getattr(answer, "_hidden_params", None) or {}).get("response_cost")
    return float(cost) if isinstance(cost, int | float) and cost > 0 else None  # it says 0 of what it does not know
