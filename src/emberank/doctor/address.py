"""The URL somebody has at hand in, the base that routes stand under out: a settings page is as often given a whole route. Pure."""

from __future__ import annotations

from ipaddress import ip_address
from urllib.parse import urlsplit

from emberank.client.url import read_url
from emberank.contract.errors import BadRequest

# What a URL may end in that is a route of some dialect, the longest first.
_ROUTES = ("/v1/ranking", "/v1/reranking", "/v1/rerank", "/v2/rerank", "/rerank", "/v1/embeddings", "/embeddings", "/v1/embed", "/v2/embed", "/embed")
_MORE = ("/v1/score", "/score", "/predict", "/v1/models", "/models", "/openapi.json", "/docs", "/info", "/health", "/v1", "/v2")


def base_of(url: str) -> str:
    """`https://host:port/prefix` without a route, a version or a slash at its end. Raises BadRequest for what is no URL."""
    text = url.strip()
    text = text if "://" in text else f"http://{text}"
    try:
        read_url(text)
    except ValueError as cause:
        raise BadRequest(f"the URL cannot be used: {cause}") from cause
    parts = urlsplit(text)
    if parts.query:
        raise BadRequest("the URL may hold no query: give the address that clients are given, such as http://host:8000")
    path = parts.path.rstrip("/")
    for route in (*_ROUTES, *_MORE):
        if path.endswith(route):
            path = path.removesuffix(route).rstrip("/")
            break
    return f"{parts.scheme}://{parts.netloc}{path}"


def is_local(base: str) -> bool:
    """Whether nothing of it leaves this machine."""
    host = urlsplit(base).hostname or ""
    try:
        return host == "localhost" or ip_address(host).is_loopback
    except ValueError:  # another name, though it may begin as an address does
        return False
