"""A request in, the address that its caller reaches the installation by out. Knows no page.

Without the setting `public_url` it is made of the Host header, which is the caller's own text: whoever writes it anywhere escapes it.
"""

from __future__ import annotations

from starlette.requests import Request

from emberank.settings import ForgeSettings


def base_of(settings: ForgeSettings, request: Request) -> str:
    """Scheme and host, without a slash at the end."""
    return (settings.public_url or str(request.base_url)).rstrip("/")
