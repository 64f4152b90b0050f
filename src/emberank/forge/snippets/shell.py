"""A subject in, the blocks for a shell out: each is one compound command, so that pasting it can neither end nor change the reader's own shell."""

from __future__ import annotations

from emberank.forge.snippets.literals import json_text, shell
from emberank.forge.snippets.snippet import Group, Snippet
from emberank.forge.snippets.subject import NO_KEY, PLACEHOLDER, TIMEOUT_S, Subject

_URL = """forge_api_url() {
  base="${FORGE_API_BASE%/}"
  printf '%s%s\\n' "${base%/v1}" "$1"
}"""
_PRINT = """forge_print_response() {
  if [ ! -s "$1" ]; then
    printf '%s\\n' '(empty response)'
  elif command -v python3 >/dev/null 2>&1; then
    python3 -m json.tool "$1" 2>/dev/null || cat "$1"
  else
    cat "$1"
  fi
}"""
_TIME = f'--max-time "${{FORGE_REQUEST_TIMEOUT_SECONDS:-{TIMEOUT_S}}}"'
_KEY = '-H "Authorization: Bearer ${FORGE_API_KEY}"'
_JSON = '-H "Content-Type: application/json"'

# Python inside single quotes: no single quote may stand in it.
_RELIABILITY_PATH = """import os
from urllib.parse import quote, urlencode
slug = os.environ.get("MODEL_OR_FAMILY_SLUG", "").strip()
if not slug:
    raise SystemExit("Set MODEL_OR_FAMILY_SLUG to the name of a model before checking reliability.")
names = {"model_version": "FORGE_MODEL_VERSION", "gpu_type": "FORGE_GPU_TYPE", "region": "FORGE_REGION"}
chosen = {field: os.environ.get(name, "").strip() for field, name in names.items()}
filters = urlencode({field: value for field, value in chosen.items() if value})
print("/v1/models/" + quote(slug, safe="") + "/reliability" + ("?" + filters if filters else ""))"""
_RELIABILITY_SHOWN = """import json, shlex, sys
answer = json.load(sys.stdin)
counts = (answer.get("supported_rows", 0), answer.get("total_rows", 0))
print("%s reliability=%s supported=%s/%s" % (answer.get("slug"), answer.get("reliability_status"), *counts))
filters = answer.get("filters") or {}
if filters:
    print("filters: " + ", ".join("%s=%s" % item for item in filters.items()))
def figures(target):
    found = []
    took = target.get("request_ms_p50") or target.get("request_ms")
    if took is not None:
        found.append("p50=%sms" % took)
    cost, hour = target.get("estimated_warm_request_cost_usd"), target.get("cost_per_gpu_hour_usd")
    if cost is not None:
        found.append("warm_cost_usd=%s" % cost)
    elif hour is not None:
        found.append("gpu_hour_usd=%s" % hour)
    rate = target.get("observed_success_rate")
    if isinstance(rate, (int, float)):
        found.append("success={:.0%}".format(rate))
    return ", ".join(found) or target.get("status") or "supported"
best = {}
for key, label in (("fastest_supported_target", "fastest supported"), ("lowest_cost_supported_target", "lowest-cost supported")):
    target = answer.get(key) or {}
    if target.get("gpu_type"):
        place = (str(target["gpu_type"]), str(target.get("region") or ""))
        best.setdefault(place, (target, []))[1].append(label)
for (gpu_type, region), (target, labels) in best.items():
    words = ["FORGE_GPU_TYPE=" + shlex.quote(gpu_type)] + (["FORGE_REGION=" + shlex.quote(region)] if region else [])
    print("export " + " ".join(words) + "  # " + " + ".join(labels) + ": " + figures(target))
if not best:
    print("No supported GPU/region target returned.", file=sys.stderr)
    print(json.dumps({name: answer.get(name, {}) for name in ("status_counts", "failure_reason_counts")}, indent=2))
    raise SystemExit(1)"""
_START_PATH = """import os
from urllib.parse import quote
slug = os.environ.get("MODEL_OR_FAMILY_SLUG", "").strip()
if not slug:
    raise SystemExit("Set MODEL_OR_FAMILY_SLUG to the name of a model before starting it.")
print("/v1/model-families/" + quote(slug, safe="") + "/start")"""
_START_BODY = """import json, os
names = {"version": "FORGE_MODEL_VERSION", "gpu_type": "FORGE_GPU_TYPE", "region": "FORGE_REGION"}
chosen = {field: os.environ.get(name, "").strip() for field, name in names.items()}
body = {field: value for field, value in chosen.items() if value}
body["run_until_stopped"] = os.environ.get("FORGE_KEEP_WARM", "").strip().lower() in ("1", "true", "yes", "on")
print(json.dumps(body))"""
_START_SHOWN = """import json, sys
answer = json.load(sys.stdin)
place = (answer.get("gpu_type") or "scheduler-selected GPU", answer.get("region") or "scheduler-selected region")
state = "cold-started" if answer.get("was_cold_start") else "already warm"
took = "" if answer.get("startup_ms") is None else "; startup_ms=%s" % answer["startup_ms"]
print("%s %s on %s in %s%s; keep_warm=%s" % (answer.get("slug") or "runtime", state, *place, took, answer.get("keep_warm")))"""


def shell_snippets(about: Subject) -> tuple[Snippet, ...]:
    """Route check, estimate, reliability, status, warm-up, and the request."""
    check = about.about("inference-routes")
    return (
        _asked(
            about,
            "api-check",
            "One-block API check",
            "check",
            check,
            "Terminal-ready smoke test: is there a route for this version and target, and what is free?",
        ),
        _asked(
            about, "run-estimate", "Run estimate", "preflight", about.about("run-estimate"), "Time and cost of the request below, warm and after a cold start."
        ),
        _reliability(about),
        _asked(about, "runtime-status", "Runtime status", "preflight", about.status, "Whether it is warm, starting or cold, and when it stops."),
        _warmup(about),
        _request(about),
    )


def _block(*parts: str) -> str:
    return "\n".join(("(", *parts, ")"))


def _opening(about: Subject, said: str, *variables: str) -> str:
    return "\n".join(
        (
            "set -euo pipefail",
            f": {shell(said)}",  # not a comment: zsh takes none from a terminal
            f"FORGE_API_BASE=${{FORGE_API_BASE:-{shell(about.base)}}}",
            *variables,
            'case "${FORGE_API_KEY:-}" in',
            f'  ""|{PLACEHOLDER})',
            f"    echo {shell(NO_KEY)} >&2",
            "    exit 1",
            "    ;;",
            "esac",
            _URL,
        )
    )


def _asked(about: Subject, name: str, title: str, group: Group, path: str, note: str) -> Snippet:
    text = _block(
        _opening(about, about.said(path.partition("?")[0])),
        _answer(f"forge_api_url {shell(path)}"),
        "printf '%s' \"$answer\" | python3 -m json.tool",
    )
    return Snippet(id=name, title=title, language="sh", group=group, text=text, note=note)


def _answer(url: str, *more: str) -> str:
    """The lines that fetch an answer. An error's body is for people: it must not be read as if it were the answer."""
    options = " \\\n  ".join((_TIME, _KEY, *more))
    return f"""answer="$(curl -sS --fail-with-body "$({url})" \\
  {options})" || {{
  code=$?
  printf '%s\\n' "$answer" >&2
  exit "$code"
}}"""


def _variables(about: Subject) -> tuple[str, ...]:
    """What a reader may set to ask about another model or target; without a pin the last two are theirs alone."""
    named = (("MODEL_OR_FAMILY_SLUG", about.slug), ("FORGE_MODEL_VERSION", about.version), ("FORGE_GPU_TYPE", about.gpu_type), ("FORGE_REGION", about.region))
    return tuple(f"export {name}=${{{name}:-{shell(value)}}}" for name, value in named if value)


def _reliability(about: Subject) -> Snippet:
    text = _block(
        _opening(about, about.said(about.route), *_variables(about)),
        f'reliability_path="$(python3 -c {shell(_RELIABILITY_PATH)})"',
        _answer('forge_api_url "$reliability_path"'),
        f"printf '%s' \"$answer\" | python3 -c {shell(_RELIABILITY_SHOWN)}",
    )
    note = "Prints the best verified targets as lines to export. Ends with 1 when none is verified yet."
    return Snippet(id="reliability", title="Selected target reliability", language="sh", group="preflight", text=text, note=note)


def _warmup(about: Subject) -> Snippet:
    text = _block(
        _opening(about, about.said(about.route), *_variables(about), "export FORGE_KEEP_WARM=${FORGE_KEEP_WARM:-false}"),
        f'start_path="$(python3 -c {shell(_START_PATH)})"',
        f'start_body="$(python3 -c {shell(_START_BODY)})"',
        _answer('forge_api_url "$start_path"', "-X POST", _JSON, '-d "$start_body"'),
        f"printf '%s' \"$answer\" | python3 -c {shell(_START_SHOWN)}",
    )
    note = "Answers when it is warm. FORGE_KEEP_WARM=true keeps it warm until it is stopped."
    return Snippet(id="warmup", title="Runtime warm-up", language="sh", group="preflight", text=text, note=note)


def _request(about: Subject) -> Snippet:
    text = _block(
        _opening(about, about.said(about.route)),
        _PRINT,
        'response_file="$(mktemp)"',
        "trap 'rm -f \"$response_file\"' EXIT",
        f'if curl -sS --fail-with-body "$(forge_api_url {shell(about.route)})" \\\n  {_TIME} \\\n  {_KEY} \\\n  {_JSON} \\\n  -d {shell(json_text(about.body))} \\\n'
        '  -o "$response_file"; then',
        '  forge_print_response "$response_file"',
        "else",
        "  code=$?",
        '  cat "$response_file" >&2',
        '  exit "$code"',
        "fi",
    )
    return Snippet(
        id="curl",
        title="curl",
        language="sh",
        group="request",
        text=text,
        note="The model's native route. A cold model is started, and the request waits for it.",
    )
