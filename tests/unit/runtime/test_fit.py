"""What a model takes, and the refusal when there is less."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest

from emberank.contract.errors import StartError
from emberank.runtime import fit
from emberank.runtime.fit import HELD, DoesNotFit, Need, available_memory, check_fits, checker, instead, needs
from emberank.runtime.process import RuntimeProcess
from emberank.settings import load


@dataclass(frozen=True)
class Shapes:
    named: Mapping[str, tuple[int, ...]]

    def shapes(self) -> Mapping[str, tuple[int, ...]]:
        return self.named


def llama_1b() -> Shapes:
    """The published shape of llama-3.2-nv-rerankqa-1b-v2: 1.2358 billion numbers."""
    named: dict[str, tuple[int, ...]] = {"embed_tokens.weight": (128256, 2048), "norm.weight": (2048,)}
    for i in range(16):
        at = f"layers.{i}"
        named |= {f"{at}.{name}_layernorm.weight": (2048,) for name in ("input", "post_attention")}
        named |= {f"{at}.self_attn.{name}_proj.weight": (2048 if name in "qo" else 512, 2048) for name in "qkvo"}
        named |= {f"{at}.mlp.gate_proj.weight": (8192, 2048), f"{at}.mlp.up_proj.weight": (8192, 2048), f"{at}.mlp.down_proj.weight": (2048, 8192)}
    return Shapes(named)


SMALL = Shapes({"embeddings.word_embeddings.weight": (1000, 10), "a.weight": (40, 10), "a.bias": (40,)})
TABLE, MATRIX = 10_000, 440


@pytest.mark.parametrize(("engine", "precision"), HELD)
def test_weights_take_what_the_engine_holds_for_each_number(engine: str, precision: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fit, "has_amx_bf16", lambda: True)
    held = HELD[engine, precision]
    need = needs([SMALL], engine=engine, precision=precision, max_batch_tokens=100)
    assert need.weights == int(TABLE * held.table + MATRIX * held.matrix)
    assert need.passing == int(max(TABLE * held.table, 400 * held.passing))
    assert need.activations == 4 * 4 * 40 * 100
    assert need.total == need.weights + max(need.passing, need.activations) + need.beside


def test_a_patch_embedding_is_a_matrix_and_a_position_table_is_a_table() -> None:
    patches = needs([Shapes({"embeddings.patch_embedding.weight": (8, 12)})], engine="torch", precision="fp8", max_batch_tokens=1)
    places = needs([Shapes({"embeddings.position_embedding.weight": (8, 12)})], engine="torch", precision="fp8", max_batch_tokens=1)
    assert (patches.weights, places.weights) == (96, 96 * 2)


def test_bf16_on_a_cpu_without_it_takes_more_than_float32_and_is_not_offered_instead(monkeypatch: pytest.MonkeyPatch) -> None:
    sizes = {}
    for amx in (True, False):
        monkeypatch.setattr(fit, "has_amx_bf16", lambda amx=amx: amx)
        sizes[amx] = needs([SMALL], engine="openvino", precision="bf16", max_batch_tokens=1).weights
        need = needs([llama_1b()], engine="openvino", precision="fp32", max_batch_tokens=1)
        assert [one.precision for one in instead([llama_1b()], need, max_batch_tokens=1)] == (["bf16", "int8"] if amx else ["int8"])
    assert sizes == {True: MATRIX * 2, False: MATRIX * 6}


def test_the_published_shape_takes_what_its_card_says() -> None:
    need = needs([llama_1b()], engine="torch", precision="bf16", max_batch_tokens=1024)
    assert need.weights == 2_471_628_800  # the bytes of its file but for the score and the header
    assert needs([llama_1b()], engine="torch", precision="fp32", max_batch_tokens=1024).weights == 2 * need.weights


def test_two_networks_take_the_sum_of_their_weights_and_the_larger_of_their_working_memories() -> None:
    vision = Shapes({"b.weight": (50, 50)})
    both = needs([SMALL, vision], engine="torch", precision="fp32", max_batch_tokens=10)
    assert both.weights == 4 * (TABLE + MATRIX + 2500)
    assert both.activations == 4 * 4 * 50 * 10


def test_one_long_sequence_counts_when_it_is_longer_than_a_batch() -> None:
    short, long = (needs([SMALL], engine="torch", precision="fp32", max_batch_tokens=100, longest=longest) for longest in (50, 8192))
    assert (short.activations, long.activations) == (4 * 4 * 40 * 100, 4 * 4 * 40 * 8192)


@pytest.mark.parametrize(("amx", "precision"), [(True, "bf16"), (False, "fp32")])
def test_auto_is_what_the_cpu_engine_would_choose(amx: bool, precision: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fit, "has_amx_bf16", lambda: amx)
    assert needs([SMALL], engine="openvino", precision="auto", max_batch_tokens=1).precision == precision
    assert needs([SMALL], engine="reference", precision="auto", max_batch_tokens=1).precision == "fp32"


def test_an_engine_that_is_not_in_the_table_is_not_judged() -> None:
    need = needs([SMALL], engine="fake", precision="auto", max_batch_tokens=1)
    assert (need.weights, need.passing, need.beside) == (0, 0, 0)


def test_what_fits_exactly_is_let_through() -> None:
    need = needs([SMALL], engine="openvino", precision="fp32", max_batch_tokens=100)
    check_fits(need, need.total, model="m")
    with pytest.raises(DoesNotFit):
        check_fits(need, need.total - 1, model="m")


def test_a_refusal_has_the_numbers_and_what_would_fit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fit, "has_amx_bf16", lambda: True)
    model = llama_1b()
    need = needs([model], engine="openvino", precision="fp32", max_batch_tokens=1024)
    others = instead([model], need, max_batch_tokens=1024)
    assert [one.precision for one in others] == ["bf16", "int8"]
    with pytest.raises(StartError) as refused:
        check_fits(need, 1_500_000_000, others, model="nv-rerank")
    assert refused.value.message == (
        "nv-rerank needs 4.3 GB (3.9 GB for fp32 weights, 0.1 GB to work in, 0.3 GB for the openvino engine), and 1.5 GB of this machine's memory are free: "
        "it needs a larger machine, or a smaller model; EMBERANK_MEMORY_CHECK=warn tries all the same"
    )
    assert refused.value.reason == "out_of_memory"
    with pytest.raises(DoesNotFit, match=r"3\.0 GB of this machine's memory are free: set precision bf16 \(2\.4 GB\) or precision int8 \(1\.6 GB\); EMBERANK"):
        check_fits(need, 3_000_000_000, others, model="nv-rerank")


def test_with_warn_it_is_only_said(caplog: pytest.LogCaptureFixture) -> None:
    need = Need(engine="torch", precision="bf16", weights=3_000_000_000, passing=0, activations=0, beside=0)
    with caplog.at_level(logging.WARNING, fit.log.name):
        check_fits(need, 1_000_000_000, model="m", where="GPU 0", policy="warn")
    assert "m needs 3.0 GB" in caplog.text
    assert "1.0 GB of GPU 0's memory are free" in caplog.text
    with caplog.at_level(logging.WARNING, fit.log.name):
        caplog.clear()
        check_fits(need, 3_000_000_000, model="m", policy="warn")
    assert caplog.text == ""


def test_a_checker_looks_at_what_is_free_each_time_a_model_is_about_to_be_built() -> None:
    need = needs([SMALL], engine="openvino", precision="fp32", max_batch_tokens=100, longest=200)
    left = [need.total, need.total - 1]
    check = checker(engine="openvino", precision="fp32", max_batch_tokens=100, free=lambda: left.pop(0), where="the lender")
    check("first", [SMALL], 200)
    with pytest.raises(DoesNotFit, match=r"^second needs .* of the lender's memory are free"):
        check("second", [SMALL], 200)
    checker(engine="openvino", precision="fp32", max_batch_tokens=100, policy="warn", free=lambda: 0)("third", [SMALL], 200)
    checker(engine="openvino", precision="fp32", max_batch_tokens=100)("small enough for any machine", [SMALL], 200)


@pytest.mark.parametrize("policy", ["refuse", "warn"])
def test_a_process_looks_at_its_memory_before_it_builds_an_engine(policy: str, tiny_embedder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fit, "available_memory", lambda: 1000)
    options = {"models": f"tiny=file:{tiny_embedder}", "engine": "reference", "memory_check": policy, "cache_dir": str(tiny_embedder.parent / "cache")}
    process = RuntimeProcess(load({}, options))
    try:
        if policy == "warn":
            asyncio.run(process.load())
            assert [model.name for model in process.models] == ["tiny"]
        else:
            with pytest.raises(DoesNotFit, match=r"^tiny needs .* for fp32 weights"):
                asyncio.run(process.load())
    finally:
        process.close()


def group(root: Path, line: str, path: str, **files: str) -> None:
    """A control group as the kernel shows it: `line` in /proc/self/cgroup, and its files."""
    (root / "proc/self").mkdir(parents=True, exist_ok=True)
    with (root / "proc/self/cgroup").open("a") as file:
        file.write(line + "\n")
    folder = root / "sys/fs/cgroup" / path
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in files.items():
        (folder / name.replace("__", ".")).write_text(text)


def test_a_container_of_version_2_has_what_is_left_of_its_limit_and_its_page_cache_counts_as_free(tmp_path: Path) -> None:
    stat = "anon 1\ninactive_file 300\nactive_file 200\n"
    group(tmp_path, "0::/", "", memory__max="5000\n", memory__current="2500\n", memory__stat=stat)
    assert available_memory(tmp_path, system=1_000_000) == 5000 - (2500 - 500)
    assert available_memory(tmp_path, system=700) == 700


def test_the_narrowest_of_nested_limits_holds_and_max_is_no_limit(tmp_path: Path) -> None:
    group(tmp_path, "0::/pod/box", "pod", memory__max="3000", memory__current="1000")
    group(tmp_path, "0::/pod/box", "pod/box", memory__max="max", memory__current="900")
    assert available_memory(tmp_path, system=1_000_000) == 2000


def test_version_1_is_read_by_its_own_names(tmp_path: Path) -> None:
    group(
        tmp_path,
        "4:cpu,memory:/docker/x",
        "memory",
        memory__limit_in_bytes="9000",
        memory__usage_in_bytes="4000",
        memory__stat="inactive_file 7\ntotal_inactive_file 1000\n",
    )
    assert available_memory(tmp_path, system=1_000_000) == 9000 - 3000


def test_a_group_over_its_limit_has_nothing_left_and_no_group_means_the_system(tmp_path: Path) -> None:
    assert available_memory(tmp_path / "nowhere", system=123) == 123
    group(tmp_path, "0::/", "", memory__max="100", memory__current="900")
    assert available_memory(tmp_path, system=1_000_000) == 0


def test_this_machine_has_some_memory_free() -> None:
    assert available_memory() > 0
