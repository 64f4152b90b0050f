"""What the control plane's own description allows and forbids, sent: never a 5xx but for what cannot be started, and every answer as described."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings

from control_plane import ADMIN, NVIDIA, Plane
from emberank.forge.openapi import OPERATIONS

with warnings.catch_warnings():
    # What schemathesis' own dependencies deprecate is not ours to mend.
    warnings.simplefilter("ignore")
    import schemathesis
    from schemathesis.specs.openapi.checks import content_type_conformance, response_schema_conformance, status_code_conformance

CONFORMS = [status_code_conformance, content_type_conformance, response_schema_conformance]
EXAMPLES = 12


@pytest.fixture(scope="module")
def lasting(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Plane]:
    """One that is meant to be changed by whatever comes."""
    plane = Plane(tmp_path_factory.mktemp("plane"), request_timeout_s=5.0)
    yield plane
    plane.stop()


MODES = (schemathesis.GenerationMode.POSITIVE, schemathesis.GenerationMode.NEGATIVE)
# An operation that takes nothing cannot be asked wrongly.
ASKED = [
    pytest.param(one.method, one.path, mode, id=f"{one.method} {one.path} {mode.value}")
    for one in OPERATIONS
    for mode in MODES
    if not one.open_to_all and (mode == MODES[0] or one.query or one.body)
]


@pytest.mark.parametrize(("method", "path", "mode"), ASKED)
def test_every_answer_is_as_our_own_document_says(lasting: Plane, method: str, path: str, mode: schemathesis.GenerationMode) -> None:
    schema = schemathesis.openapi.from_dict(lasting.get("/openapi.json").json)

    @given(case=schema[path][method.upper()].as_strategy(generation_mode=mode))
    @settings(max_examples=EXAMPLES, deadline=None, database=None, suppress_health_check=list(HealthCheck), derandomize=True)
    def run(case: Any) -> None:
        if mode == MODES[0] and "slug" in case.path_parameters:
            case.path_parameters["slug"] = NVIDIA  # a random name never leads anywhere
        key = {"Authorization": f"Bearer {ADMIN}"}
        response = case.call_and_validate(base_url=f"http://127.0.0.1:{lasting.port}", headers=key, checks=CONFORMS)
        assert response.status_code != 500

    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", module="schemathesis|hypothesis_jsonschema|hypothesis_graphql|jsonschema_rs")
        run()
