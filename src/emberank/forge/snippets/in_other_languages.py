"""A subject in, the request in JavaScript and in Go out. Each is a whole program that needs no package."""

from __future__ import annotations

from emberank.forge.snippets.literals import go, go_raw, javascript, json_text
from emberank.forge.snippets.snippet import Snippet
from emberank.forge.snippets.subject import NO_KEY, PLACEHOLDER, TIMEOUT_S, Subject


def other_snippets(about: Subject) -> tuple[Snippet, ...]:
    """JavaScript, Go."""
    return _javascript(about), _go(about)


def _javascript(about: Subject) -> Snippet:
    body = javascript(about.body).replace("\n", "\n  ")
    text = f"""const base = (process.env.FORGE_API_BASE || {javascript(about.base)}).replace(/\\/+$/, "").replace(/\\/v1$/, "");
const key = process.env.FORGE_API_KEY || "";
if (key === "" || key === "{PLACEHOLDER}") {{
  console.error({javascript(NO_KEY)});
  process.exit(1);
}}
const seconds = Number(process.env.FORGE_REQUEST_TIMEOUT_SECONDS || {TIMEOUT_S});

const response = await fetch(base + {javascript(about.route)}, {{
  method: "POST",
  headers: {{ Authorization: `Bearer ${{key}}`, "Content-Type": "application/json" }},
  signal: AbortSignal.timeout(seconds * 1000),
  body: JSON.stringify({body}),
}});
if (!response.ok) {{
  console.error(response.status, await response.text());
  process.exit(1);
}}
console.log(JSON.stringify(await response.json(), null, 2));"""
    note = "Node 18 or newer, as a file that ends in .mjs. Node's fetch itself waits at most 300 seconds for an answer: prewarm what starts slower."
    return Snippet(id="javascript-fetch", title="JavaScript, fetch", language="javascript", group="request", text=text, note=note)


def _go(about: Subject) -> Snippet:
    text = f"""package main

import (
	"fmt"
	"io"
	"net/http"
	"os"
	"strconv"
	"strings"
	"time"
)

const body = {go_raw(json_text(about.body))}

func setting(name, fallback string) string {{
	if value := os.Getenv(name); value != "" {{
		return value
	}}
	return fallback
}}

func fail(message any) {{
	fmt.Fprintln(os.Stderr, message)
	os.Exit(1)
}}

func main() {{
	base := strings.TrimSuffix(strings.TrimRight(setting("FORGE_API_BASE", {go(about.base)}), "/"), "/v1")
	key := os.Getenv("FORGE_API_KEY")
	if key == "" || key == "{PLACEHOLDER}" {{
		fail({go(NO_KEY)})
	}}
	seconds, err := strconv.ParseFloat(setting("FORGE_REQUEST_TIMEOUT_SECONDS", "{TIMEOUT_S}"), 64)
	if err != nil {{
		fail(err)
	}}
	request, err := http.NewRequest(http.MethodPost, base+{go(about.route)}, strings.NewReader(body))
	if err != nil {{
		fail(err)
	}}
	request.Header.Set("Authorization", "Bearer "+key)
	request.Header.Set("Content-Type", "application/json")
	client := http.Client{{Timeout: time.Duration(seconds * float64(time.Second))}}
	response, err := client.Do(request)
	if err != nil {{
		fail(err)
	}}
	defer response.Body.Close()
	answer, err := io.ReadAll(response.Body)
	if err != nil {{
		fail(err)
	}}
	if response.StatusCode != http.StatusOK {{
		fail(response.Status + ": " + string(answer))
	}}
	fmt.Println(string(answer))
}}"""
    note = "go run main.go. Our tests run it only where a Go toolchain is installed."
    return Snippet(id="go", title="Go, net/http", language="go", group="request", text=text, note=note, executed=False)
