"""A subject in, how to run an installation elsewhere out: Docker, Nebius, Ray. What does not exist is called missing, not sketched."""

from __future__ import annotations

import json

from emberank.forge.snippets.literals import shell
from emberank.forge.snippets.snippet import Snippet
from emberank.forge.snippets.subject import Subject

_NO_DOCKER = "Not executed by our tests: they have no container engine."
_DOCKERFILE = """# In a checkout of Emberank: docker build -t emberank .
FROM python:3.12-slim
COPY pyproject.toml README.md LICENSE /src/
COPY src /src/src
RUN pip install --no-cache-dir /src \\
 && useradd --uid 10001 --create-home emberank \\
 && install -d -m 700 -o emberank /data /weights
USER emberank
ENV EMBERANK_HOST=0.0.0.0 EMBERANK_PORT=8000 EMBERANK_DATA_DIR=/data EMBERANK_CACHE_DIR=/weights
VOLUME ["/data", "/weights"]
EXPOSE 8000
HEALTHCHECK CMD ["python", "-c", "import urllib.request; urllib.request.urlopen('http://127.0.0.1:8000/v1/health/ready', timeout=3)"]
CMD ["emberank", "up"]"""
_COMPOSE = """# Beside the Dockerfile, with EMBERANK_API_KEY in .env: docker compose up
services:
  emberank:
    build: .
    environment:
      EMBERANK_API_KEY: "${EMBERANK_API_KEY:?put a key of your own, such as the output of openssl rand -hex 32, into .env}"
    ports:
      - "127.0.0.1:8000:8000"
    volumes:
      - data:/data
      - weights:/weights
    restart: unless-stopped
    stop_grace_period: 45s
volumes:
  data: {}
  weights: {}"""
_NEBIUS = """(
set -euo pipefail
: 'Runs in YOUR Nebius account (you own and pay for the endpoint). Platforms and presets: nebius compute platform list'
: "${IMAGE:?Set IMAGE to an image that you have built and pushed: Emberank publishes none.}"
: "${PLATFORM:?Set PLATFORM, such as gpu-l40s-a or cpu-e2.}" "${PRESET:?Set PRESET, such as 1gpu-8vcpu-32gb.}"
ENDPOINT_NAME=%s
AUTH_TOKEN="$(openssl rand -hex 32)"
SUBNET_ID="$(nebius vpc subnet list --format jsonpath='{.items[0].metadata.id}')"
: 'The door of the endpoint and Emberank read the same header, so the token is the first key of Emberank as well.'
nebius ai endpoint create \\
  --name "$ENDPOINT_NAME" \\
  --image "$IMAGE" \\
  ${REGISTRY_USERNAME:+--registry-username "$REGISTRY_USERNAME" --registry-password "$REGISTRY_PASSWORD"} \\
  --platform "$PLATFORM" \\
  --preset "$PRESET" \\
  --container-port 8000 \\
  --env "EMBERANK_API_KEY=$AUTH_TOKEN" \\
  --auth token \\
  --token "$AUTH_TOKEN" \\
  --subnet-id "$SUBNET_ID"
ENDPOINT_ID="$(nebius ai endpoint get-by-name --name "$ENDPOINT_NAME" --format jsonpath='{.metadata.id}')"
nebius ai endpoint get "$ENDPOINT_ID"
printf 'export FORGE_API_KEY=%%s\\n' "$AUTH_TOKEN"
)"""
_MOST_NAME = 54  # an endpoint's name holds at most 63 characters


def deploy_snippets(about: Subject) -> tuple[Snippet, ...]:
    """Dockerfile, compose, Nebius, Ray."""
    gpu = " For NVIDIA GPUs install '/src[torch]' and give the container its devices."
    return (
        Snippet(id="dockerfile", title="Dockerfile", language="dockerfile", group="deploy", text=_DOCKERFILE, note=_NO_DOCKER + gpu, executed=False),
        Snippet(id="compose", title="Docker Compose", language="yaml", group="deploy", text=_COMPOSE, note=_NO_DOCKER, executed=False),
        _nebius(about),
        _ray(about),
    )


def _nebius(about: Subject) -> Snippet:
    text = _NEBIUS % shell(f"{about.slug[:_MOST_NAME].rstrip('-')}-emberank")
    note = "Not executed by our tests: it needs an account at Nebius and an image of yours, made with the Dockerfile above."
    return Snippet(id="nebius", title="Nebius CLI", language="sh", group="deploy", text=text, note=note, executed=False)


def _ray(about: Subject) -> Snippet:
    text = (
        "# Needs a Ray launcher, which this release does not have: there is no Ray Serve application and no KubeRay manifest to copy.\n"
        "# What works: run `emberank runtime` (or a NIM) on a node of the cluster yourself, and add it to models.toml in the data folder.\n"
        "[[model]]\n"
        f"extends = {json.dumps(about.slug)}\n\n"
        "[[model.version]]\n"
        f"name = {json.dumps(about.version)}\n"
        'source = "nim:http://RAY_NODE:8000"'
    )
    note = "Not executed by our tests: there is no Ray launcher yet. The entry is one for a server that runs already."
    return Snippet(id="ray", title="Ray", language="toml", group="deploy", text=text, note=note, executed=False)
