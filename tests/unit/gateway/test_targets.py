"""A pin in, a wish out; and what is said of one that is unknown, or that nothing here can run."""

from __future__ import annotations

import pytest

from emberank.contract.errors import BadRequest, NotFound, TargetUnavailable
from emberank.contract.fleet import TargetRow, Wish
from emberank.dialects.forge import ANYWHERE, Pin
from emberank.gateway.targets import runnable, wish_of
from fleets import CPU, model

B200 = TargetRow(gpu_type="B200", region="us-central1", status="works", runnable=False, reason="no pool provides B200 in us-central1")
L40S = TargetRow(gpu_type="L40S", region="eu-north1", status="works", runnable=False)
MODEL = model(targets=(B200, CPU, L40S), versions=("v2", "v1"))


def test_without_a_pin_it_is_the_first_version_anywhere() -> None:
    assert wish_of(MODEL, ANYWHERE) == wish_of(MODEL, Pin()) == Wish(slug="acme-rank", version="v2")


def test_a_pin_is_written_as_the_catalogue_writes_it() -> None:
    assert wish_of(MODEL, Pin("V1", "b200", "US-Central1")) == Wish(slug="acme-rank", version="v1", gpu_type="B200", region="us-central1")
    assert wish_of(MODEL, Pin(region="local")) == Wish(slug="acme-rank", version="v2", region="local")


@pytest.mark.parametrize(
    ("pin", "kind", "status", "says"),
    [
        (Pin("v9"), NotFound, 404, "'acme-rank' has no version 'v9'; its versions: v2, v1"),
        (
            Pin(gpu_type="H900"),
            BadRequest,
            400,
            "gpu_type 'H900' is not known for 'acme-rank' v2; known: B200, CPU, L40S; its targets: B200 in us-central1, CPU",
        ),
        (Pin(region="mars"), BadRequest, 400, "region 'mars' is not known for 'acme-rank' v2; known: us-central1, local, eu-north1"),
        (Pin(gpu_type="CPU", region="eu-north1"), BadRequest, 400, "CPU in eu-north1 is no target of 'acme-rank' v2; its targets: B200 in us-central1"),
        (Pin("x" * 5000), NotFound, 404, f"has no version '{'x' * 80}'"),
    ],
)
def test_what_is_not_known_is_refused_with_what_is(pin: Pin, kind: type[Exception], status: int, says: str) -> None:
    with pytest.raises(kind) as caught:
        wish_of(MODEL, pin)
    assert says in caught.value.message  # type: ignore[attr-defined]
    assert caught.value.http_status == status  # type: ignore[attr-defined]


def test_the_targets_of_a_wish_are_those_that_can_run_it() -> None:
    assert runnable(MODEL, wish_of(MODEL, ANYWHERE)) == [CPU]


def test_a_pin_to_what_nothing_here_can_run_says_why_and_what_else_there_is() -> None:
    with pytest.raises(TargetUnavailable) as caught:
        runnable(MODEL, wish_of(MODEL, Pin(gpu_type="B200")))
    assert caught.value.http_status == 409
    assert caught.value.message == (
        "'acme-rank' v2 cannot run on B200 in us-central1 here: no pool provides B200 in us-central1; "
        "it can run on CPU in local, or without gpu_type and region where it is best"
    )


def test_a_model_that_nothing_here_can_run_is_not_the_callers_mistake() -> None:
    gpu_only = model(targets=(B200, L40S))
    with pytest.raises(TargetUnavailable) as caught:
        runnable(gpu_only, wish_of(gpu_only, ANYWHERE))
    assert caught.value.http_status == 503
    assert "cannot run on any target here: no pool provides B200 in us-central1; it can run nowhere in this installation" in caught.value.message


def test_a_model_without_versions_is_said_to_have_none() -> None:
    with pytest.raises(TargetUnavailable, match="has no version"):
        wish_of(model(versions=()), ANYWHERE)
