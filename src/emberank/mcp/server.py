"""The tools as a server of the Model Context Protocol, with the official SDK. Knows no transport: stdio or HTTP is whoever runs it.

What goes wrong in a tool is a tool's result that says so (`isError`), for the model to read and mend; only an unknown tool is an error of the protocol.
Source: https://modelcontextprotocol.io/specification, "Tools".
"""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping
from typing import Any

import mcp_types as types
from jsonschema import Draft202012Validator
from jsonschema.exceptions import best_match
from mcp.server.context import ServerRequestContext
from mcp.server.lowlevel import Server
from mcp.shared.exceptions import MCPError

from emberank import __version__
from emberank.client import Progress
from emberank.contract.errors import BadRequest, EmberankError, Forbidden, ServerBusy, Unauthorized
from emberank.mcp.acts import ACTS, Tell
from emberank.mcp.callers import Callers
from emberank.mcp.tools import TOOLS, Tool

log = logging.getLogger(__name__)

INSTRUCTIONS = (
    "Rerankers and embedders of an Emberank server. Call list_models to see what there is; rank orders passages by relevance to a query, embed makes vectors. "
    "A model that is not running starts by itself with the first call, which can take minutes: start_model does that and says how far it is."
)
_MOST_SAID = 300


def mcp_server(callers: Callers) -> Server[Any]:
    """A server that has the tools, each call with its caller's key."""
    shown = [_shown(tool) for tool in TOOLS]
    checks = {tool.name: Draft202012Validator(tool.takes) for tool in TOOLS}

    async def list_tools(context: ServerRequestContext[Any, Any], asked: types.PaginatedRequestParams | None) -> types.ListToolsResult:
        return types.ListToolsResult(tools=shown)

    async def call_tool(context: ServerRequestContext[Any, Any], asked: types.CallToolRequestParams) -> types.CallToolResult:
        check = checks.get(asked.name)
        if check is None:
            raise MCPError(types.INVALID_PARAMS, f"no tool {asked.name[:100]!r}; there are: {', '.join(checks)}")
        began = time.monotonic()
        result = await _called(callers, check, context, asked)
        extra = {"action": "tool", "tool": asked.name, "failed": result.is_error, "ms": round(1e3 * (time.monotonic() - began), 1)}
        log.info("a tool was called", extra=extra)
        return result

    return Server("emberank", version=__version__, title="Emberank", instructions=INSTRUCTIONS, on_list_tools=list_tools, on_call_tool=call_tool)


def _shown(tool: Tool) -> types.Tool:
    hints = types.ToolAnnotations(title=tool.title, read_only_hint=tool.reads_only, destructive_hint=False, idempotent_hint=True, open_world_hint=False)
    return types.Tool(name=tool.name, title=tool.title, description=tool.description, input_schema=tool.takes, output_schema=tool.gives, annotations=hints)


async def _called(
    callers: Callers, check: Draft202012Validator, context: ServerRequestContext[Any, Any], asked: types.CallToolRequestParams
) -> types.CallToolResult:
    try:
        given = {name: value for name, value in (asked.arguments or {}).items() if value is not None}  # null is absent
        _refuse_wrong(check, given)
        found = await ACTS[asked.name](callers.client(_authorization(context)), given, _teller(context))
    except EmberankError as error:
        return _failed(advised(error))
    except Exception:
        log.exception("a tool failed", extra={"action": "tool_failed", "tool": asked.name})
        return _failed("internal error of the MCP server; its log has the cause")
    return types.CallToolResult(content=[types.TextContent(text=found.words)], structured_content=found.data)


def _refuse_wrong(check: Draft202012Validator, given: Mapping[str, Any]) -> None:
    wrong = best_match(check.iter_errors(given))
    if wrong is None:
        return
    place = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in wrong.absolute_path).lstrip(".")
    # jsonschema's sentence begins with the value, which may be a whole passage.
    said = wrong.message if len(wrong.message) <= _MOST_SAID else f"…{wrong.message[-_MOST_SAID // 2 :]}"
    raise BadRequest(f"{place}: {said}" if place else said)


def _authorization(context: ServerRequestContext[Any, Any]) -> str | None:
    """Of the HTTP request that brought this call; None on stdio."""
    headers: Mapping[str, str] = getattr(context.request, "headers", {})
    return headers.get("authorization")


def _teller(context: ServerRequestContext[Any, Any]) -> Tell:
    """Progress as the protocol's own notification, for clients that asked for it. It must grow: seconds since the start do, whatever the step."""
    began = time.monotonic()

    async def tell(progress: Progress) -> None:
        step = f"{progress.step} {progress.percent:.0f} %" if progress.step and progress.percent is not None else progress.step
        words = f"{progress.slug}: {progress.phase}{f', {step}' if step else ''}"
        spent_s = time.monotonic() - began
        total_s = spent_s + progress.eta_s if progress.eta_s is not None else None
        await context.session.report_progress(spent_s, total_s, words)

    return tell


def advised(error: EmberankError) -> str:
    """An error in words, with what to do about it."""
    said = error.message.rstrip(".")
    if isinstance(error, ServerBusy) and error.retry_after_s is not None:
        return f"{said}. Try again in {error.retry_after_s:.0f} s."
    if isinstance(error, ServerBusy):
        return f"{said}. Try again later."
    if isinstance(error, Unauthorized):
        return f"{said}. The key that this MCP server was given (FORGE_API_KEY), or that you send, is not one of the gateway's."
    if isinstance(error, Forbidden):
        return f"{said}. The key may not do this; somebody with an admin key can give it more rights."
    return f"{said}."


def _failed(words: str) -> types.CallToolResult:
    return types.CallToolResult(content=[types.TextContent(text=words)], is_error=True)
