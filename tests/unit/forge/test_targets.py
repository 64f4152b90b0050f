"""Which targets a version has, which of them are runnable here and why not; and the files that declare GPUs, prices and pools."""

from __future__ import annotations

import os
from dataclasses import replace
from datetime import date
from pathlib import Path

import pytest

from emberank.contract.errors import NotFound, SettingError
from emberank.forge.catalog import Model, Version
from emberank.forge.catalog_file import load_catalog
from emberank.forge.target_files import gpu_types, load_pools, load_prices, read_gpu_types, read_pools, read_prices
from emberank.forge.targets import GB, GpuType, Offer, Pool, Price, Target, elsewhere, gpu_type_named, matching, price_of, targets_of, why_not

TYPES = gpu_types()
PRICES = load_prices(types=TYPES)
NVIDIA = load_catalog().resolve("nvidia-llama-3-2-nv-rerankqa-1b-v2")
VERSION = Version(name="v1", source="file:/m", memory_gb=4.0)
MODEL = Model(slug="tiny", id="acme/tiny", title="Tiny", description="", task="rank", versions=(VERSION,))
LOCAL = Target("CPU", "local")


def pool(gpu_type: str = "CPU", region: str = "local", memory_gb: float = 8.0, **fields: object) -> Pool:
    return Pool(target=Target(gpu_type, region), memory_bytes=int(memory_gb * GB), slots=1, **fields)  # type: ignore[arg-type]


def reason(one: Pool, version: Version = VERSION) -> str:
    return why_not(MODEL, version, one, one.target)


# what runs where


def test_a_versions_targets_are_the_pools_here_and_then_what_is_known_from_others_only() -> None:
    offers = targets_of(NVIDIA, NVIDIA.versions[0], (pool(), pool("B200", "us-central1", 24)), PRICES)
    assert [str(offer.target) for offer in offers] == [
        "CPU in local",
        "B200 in us-central1",
        "B300 in uk-south1",
        "H100",
        "H200 in eu-north2",
        "H200 in us-central1",
        "L40S in eu-north1",
        "RTX6000 in us-central1",
    ]
    assert [offer.runnable for offer in offers] == [True, True] + [False] * 6
    assert offers[1].published is not None
    assert offers[1].published.tokens_per_s == 435
    assert offers[1].price == Price(usd_per_hour=7.15, source="Nebius pay-as-you-go, as shown on the Forge catalogue page", date="2026-04-28")
    assert offers[0].published is None
    assert offers[0].price is None


def test_a_target_without_a_pool_says_so() -> None:
    offers = targets_of(NVIDIA, NVIDIA.versions[0], (), PRICES)
    assert [offer.reason for offer in offers if offer.target.gpu_type in ("B200", "H100")] == [
        "no pool here provides B200 in us-central1",
        "no pool here provides H100",
    ]
    assert not any(offer.runnable for offer in offers)


def test_a_pools_own_price_goes_before_the_tables() -> None:
    own = Price(usd_per_hour=1.0, source="pools.toml", date="2026-11-21")
    (offer,) = targets_of(MODEL, VERSION, (pool("B200", "us-central1", price=own),), PRICES)
    assert offer.price is own


def test_a_pool_that_is_too_small_says_the_numbers() -> None:
    assert reason(pool(memory_gb=3.9)) == "tiny v1 needs 4.0 GB, and CPU in local has 3.9 GB"
    assert reason(pool(memory_gb=4.0)) == ""


def test_of_several_devices_one_has_to_be_large_enough() -> None:
    two = pool("L4", memory_gb=6.0, devices=("GPU-1", "GPU-2"))
    assert two.most_bytes == 3 * GB
    assert reason(two) == "tiny v1 needs 4.0 GB, and L4 in local has 3.0 GB each"


def test_a_version_whose_need_is_not_known_may_be_tried_anywhere() -> None:
    assert reason(pool(memory_gb=0.001), replace(VERSION, memory_gb=None)) == ""


def test_a_version_for_some_gpu_types_runs_on_no_others() -> None:
    version = replace(VERSION, gpu_types=("H100", "H200"))
    assert reason(pool(), version) == "tiny v1 runs on H100, H200 only"
    assert reason(pool("H100"), version) == ""


def test_a_closed_pool_says_why() -> None:
    assert reason(pool("H100", closed="not today")) == "not today"


def test_somebody_elses_server_needs_a_remote_pool_and_a_remote_pool_such_a_server() -> None:
    remote, version = pool("H100", memory_gb=0, launcher="remote"), replace(VERSION, source="nim:http://nim:8000")
    assert reason(remote, version) == ""
    assert 'not declared as launcher = "remote"' in reason(pool(), version)
    assert "its source is not nim:URL" in reason(remote)


@pytest.mark.parametrize("source", ["nim:http://nim:8000", "nvidia_nim/nvidia/x", "cohere:https://api.cohere.com"])
def test_somebody_elses_server_needs_no_declared_pool(source: str) -> None:
    version = replace(VERSION, source=source)
    offers = targets_of(MODEL, version, (pool(), elsewhere()), PRICES)
    assert [(str(offer.target), offer.runnable) for offer in offers] == [("CPU in local", False), ("REMOTE in elsewhere", True)]
    assert offers[1].price is None


def test_a_model_that_is_started_here_knows_nothing_of_elsewhere() -> None:
    assert [str(offer.target) for offer in targets_of(MODEL, VERSION, (pool(), elsewhere()), PRICES)] == ["CPU in local"]


def test_a_declared_remote_pool_stands_in_the_place_of_elsewhere_for_the_versions_that_may_run_on_it() -> None:
    declared = pool("H100", "rack-7", memory_gb=0, launcher="remote")
    version = replace(VERSION, source="nim:http://nim:8000")
    assert [str(offer.target) for offer in targets_of(MODEL, version, (declared, elsewhere()), PRICES)] == ["H100 in rack-7"]
    other = replace(version, gpu_types=("H200", "REMOTE"))
    assert [(str(offer.target), offer.runnable) for offer in targets_of(MODEL, other, (declared, elsewhere()), PRICES)] == [
        ("H100 in rack-7", False),
        ("REMOTE in elsewhere", True),
    ]


def test_a_price_without_a_region_is_for_all_of_them() -> None:
    anywhere, here = (Price(usd_per_hour=usd, source="s", date="2026-01-01") for usd in (2.0, 3.0))
    prices = {Target("H100", ""): anywhere, Target("H100", "local"): here}
    assert price_of(prices, Target("H100", "local")) is here
    assert price_of(prices, Target("H100", "moon")) is anywhere
    assert price_of(prices, Target("H200", "moon")) is None


# filters


OFFERS = targets_of(NVIDIA, NVIDIA.versions[0], (pool(),), PRICES)


def named(gpu_type: str | None = None, region: str | None = None, offers: tuple[Offer, ...] = OFFERS) -> list[tuple[str, str]]:
    return [offer.target for offer in matching(offers, gpu_type, region)]


def test_filters_take_type_and_region_in_any_case() -> None:
    assert named() == [offer.target for offer in OFFERS]
    assert named("b200") == [("B200", "us-central1")]
    assert named(region="US-Central1") == [("B200", "us-central1"), ("H200", "us-central1"), ("RTX6000", "us-central1")]
    assert named(" cpu ", "LOCAL") == [("CPU", "local")]


def test_known_values_that_do_not_go_together_give_none() -> None:
    assert named("B200", "local") == []


@pytest.mark.parametrize(
    ("gpu_type", "region", "said"),
    [
        ("A100", None, "gpu_type 'A100' is not known here; known: CPU, B200, B300, H100, H200, L40S, RTX6000"),
        (None, "moon", "region 'moon' is not known here; known: local, us-central1, uk-south1, eu-north2, eu-north1"),
        ("", None, "gpu_type '' is not known here"),
    ],
)
def test_an_unknown_value_is_a_404_that_lists_the_known_ones(gpu_type: str | None, region: str | None, said: str) -> None:
    with pytest.raises(NotFound) as caught:
        named(gpu_type, region)
    assert caught.value.message.startswith(said)
    assert caught.value.http_status == 404


def test_a_long_value_does_not_come_back_whole() -> None:
    with pytest.raises(NotFound) as caught:
        named("x" * 100_000)
    assert len(caught.value.message) < 400
    with pytest.raises(NotFound, match="known: none"):
        named("x", offers=())


# GPU types


@pytest.mark.parametrize(
    ("reported", "name"),
    [
        ("NVIDIA H100 80GB HBM3", "H100"),
        ("NVIDIA H100 PCIe", "H100"),
        ("NVIDIA H200", "H200"),
        ("NVIDIA B200", "B200"),
        ("NVIDIA B300 SXM6 AC", "B300"),
        ("NVIDIA L40S", "L40S"),
        ("NVIDIA RTX PRO 6000 Blackwell Server Edition", "RTX6000"),
        ("NVIDIA A100-SXM4-80GB", "A100"),
        ("NVIDIA L4", "L4"),
        ("NVIDIA A10", "A10"),
        ("Tesla T4", "T4"),
        ("nvidia l4", "L4"),
        ("NVIDIA GeForce RTX 4090", "RTX-4090"),
        ("NVIDIA B400", "B400"),
        ("", "GPU"),
    ],
)
def test_what_a_driver_reports_has_our_name(reported: str, name: str) -> None:
    assert gpu_type_named(TYPES, reported) == name


def test_every_gpu_of_the_pages_table_has_a_type_and_a_price_but_the_unprobed_one() -> None:
    rows = NVIDIA.versions[0].published
    assert {row.gpu_type for row in rows} <= {kind.name for kind in TYPES}
    assert {Target(row.gpu_type, row.region) for row in rows} - set(PRICES) == {Target("H100", "")}


def test_the_shipped_prices_are_the_pages() -> None:
    assert {target: price.usd_per_hour for target, price in PRICES.items()} == {
        ("B200", "us-central1"): 7.15,
        ("B300", "uk-south1"): 7.85,
        ("H200", "eu-north2"): 4.50,
        ("H200", "us-central1"): 4.50,
        ("L40S", "eu-north1"): 1.82,
        ("RTX6000", "us-central1"): 1.80,
    }
    assert {price.source for price in PRICES.values()} == {"Nebius pay-as-you-go, as shown on the Forge catalogue page"}


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('[[gpu]]\nname = "X1"', "`memory_gb` is missing"),
        ('[[gpu]]\nname = "X1"\nmemory_gb = 1\nmemory = 2', "`memory` is not a known key; is `memory_gb` meant?"),
        ('[[gpu]]\nname = "X1"\nmemory_gb = 1\nnvml = ["x2"]\n[[gpu]]\nname = "X2"\nmemory_gb = 1', "'x2' is a name of two GPU types"),
    ],
)
def test_a_wrong_gpu_type_is_refused(text: str, said: str) -> None:
    with pytest.raises(SettingError) as caught:
        read_gpu_types(text, "gpus.toml")
    assert said in caught.value.message


# prices


def test_a_users_price_stands_over_the_shipped_one(tmp_path: Path) -> None:
    (tmp_path / "prices.toml").write_text(
        '[[price]]\ngpu_type = "b200"\nregion = "us-central1"\nusd_per_hour = 5\nsource = "contract"\ndate = 2026-11-21\n'
        '[[price]]\ngpu_type = "cpu"\nusd_per_hour = 0\nsource = "it stands here anyway"\ndate = "2026-11-21"\n'
    )
    prices = load_prices(tmp_path, TYPES)
    assert prices[Target("B200", "us-central1")] == Price(usd_per_hour=5.0, source="contract", date="2026-11-21")
    assert prices[Target("CPU", "")].usd_per_hour == 0
    assert prices[Target("L40S", "eu-north1")].usd_per_hour == 1.82
    assert load_prices(tmp_path / "elsewhere", TYPES) == PRICES


PRICE = '[[price]]\ngpu_type = "H100"\nregion = "here"\nusd_per_hour = 2\nsource = "s"\ndate = 2026-01-01\n'


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (PRICE + PRICE, "there is already a price for H100 in here"),
        (PRICE.replace("= 2\n", "= -2\n"), "`usd_per_hour` has to be a number"),
        (PRICE.replace("usd_per_hour", "eur_per_hour"), "`usd_per_hour` is missing"),
        (PRICE.replace("source", "from"), "`source` is missing"),
        (PRICE.replace('"H100"', '"H 100"'), "`gpu_type` is 'H 100'; it has to be letters"),
        (PRICE.replace("2026-01-01", "2026"), "`date` has to be a date"),
        (PRICE + "currency = 1", "prices.toml: [[price]] 1 (H100, here): `currency` is not a known key"),
    ],
)
def test_a_wrong_price_is_refused(text: str, said: str) -> None:
    with pytest.raises(SettingError) as caught:
        read_prices(text, "prices.toml")
    assert said in caught.value.message


# pools


DECLARED = """
[[pool]]
gpu_type = "CPU"
region = "local"
memory_gb = 4
slots = 3
settings = { precision = "int8", threads = 2 }

[[pool]]
gpu_type = "b200"
region = "us-central1"
memory_gb = 24
slots = 2
usd_per_hour = 7.0

[[pool]]
gpu_type = "H100"
region = "rack-7"
devices = ["GPU-1", "GPU-2"]

[[pool]]
gpu_type = "L40S"
region = "far"
launcher = "remote"
slots = 4
usd_per_hour = 1.5
price_source = "invoice"
price_date = 2026-10-01
"""


def test_several_pools_may_stand_on_one_machine() -> None:
    cpu, b200, h100, far = read_pools(DECLARED, "pools.toml", TYPES, "2026-11-21")
    assert cpu == Pool(target=LOCAL, memory_bytes=4 * GB, slots=3, settings={"precision": "int8", "threads": "2"})
    assert b200 == Pool(
        target=Target("B200", "us-central1"), memory_bytes=24 * GB, slots=2, price=Price(usd_per_hour=7.0, source="pools.toml", date="2026-11-21")
    )
    # Of a known type the memory is known; each device has it.
    assert h100 == Pool(target=Target("H100", "rack-7"), memory_bytes=160 * GB, slots=2, devices=("GPU-1", "GPU-2"))
    assert (far.launcher, far.memory_bytes, far.price) == ("remote", 0, Price(usd_per_hour=1.5, source="invoice", date="2026-10-01"))


def test_a_declared_pool_stands_in_the_place_of_the_discovered_one(tmp_path: Path) -> None:
    discovered = (pool(memory_gb=21), pool("H200", memory_gb=140))
    assert load_pools(tmp_path, discovered, PRICES, TYPES) == discovered
    path = tmp_path / "pools.toml"
    path.write_text(DECLARED)
    os.utime(path, (1_795_219_200, 1_795_219_200))
    pools = load_pools(tmp_path, discovered, PRICES, TYPES)
    assert [str(one.target) for one in pools] == ["CPU in local", "B200 in us-central1", "H100 in rack-7", "L40S in far", "H200 in local"]
    assert pools[0].memory_bytes == 4 * GB
    assert pools[1].price is not None
    assert pools[1].price.date == date(2026, 11, 21).isoformat()


def test_a_pool_without_a_price_of_its_own_has_the_tables(tmp_path: Path) -> None:
    (tmp_path / "pools.toml").write_text('[[pool]]\ngpu_type = "B200"\nregion = "us-central1"\nmemory_gb = 4')
    (one,) = load_pools(tmp_path, (), PRICES, TYPES)
    assert one.price == PRICES[Target("B200", "us-central1")]


POOL = '[[pool]]\ngpu_type = "H100"\nregion = "here"\nmemory_gb = 80\n'


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("pool = 3", "`pool` has to be a list of tables: [[pool]]"),
        (POOL.replace("[[pool]]", "[[pools]]"), "`pools` is not a known key; is `pool` meant?"),
        (POOL + "memry_gb = 3", "`memry_gb` is not a known key; is `memory_gb` meant?"),
        (POOL.replace("memory_gb = 80", ""), "`memory_gb` is missing"),
        (POOL.replace("80", '"80 GB"'), "`memory_gb` has to be a number"),
        (POOL.replace('region = "here"', ""), "`region` is missing"),
        (POOL.replace("here", "over there"), "`region` is 'over there'"),
        (POOL + POOL, "there is already a pool for H100 in here"),
        (POOL + POOL.replace("H100", "h100").replace("here", "here"), "there is already a pool for H100 in here"),
        (POOL + "slots = 0", "`slots` has to be a whole number from 1"),
        (POOL + "slots = 1.5", "`slots` has to be a whole number"),
        (POOL + 'launcher = "ray"', "`launcher` has to be one of 'process', 'remote', 'fake'"),
        (POOL + "usd_per_hour = -1", "`usd_per_hour` has to be a number"),
        (POOL + 'price_source = "x"', "`price_source` needs `usd_per_hour`"),
        (POOL + "devices = [0]", "`devices` has to be a list of texts"),
        (POOL + 'devices = ["0"]\nslots = 2', "`slots` is 2, and there are 1 devices"),
        (POOL.replace("H100", "CPU") + 'devices = ["0"]', "`devices` has no meaning on a CPU pool"),
        (POOL + 'launcher = "remote"\ndevices = ["0"]', "`devices` has no meaning on a remote pool"),
        (POOL + 'launcher = "remote"\nsettings = { threads = 1 }', "`settings` has no meaning on a remote pool"),
        (POOL + "settings = { treads = 1 }", "`settings` has no setting 'treads'; is 'threads' meant?"),
        (POOL + "settings = { threads = -1 }", "`settings` cannot be: --threads='-1' must be between"),
        (POOL + "settings = { status_file = 1 }", "`settings` cannot set 'status_file'"),
    ],
)
def test_a_wrong_pool_is_refused_with_file_entry_key_and_what_would_be_right(text: str, said: str) -> None:
    with pytest.raises(SettingError) as caught:
        read_pools(text, "pools.toml", TYPES)
    assert caught.value.message.startswith("pools.toml: ")
    assert said in caught.value.message


def test_a_type_in_no_table_is_a_type_all_the_same() -> None:
    (one,) = read_pools(POOL.replace("H100", "Gaudi3"), "pools.toml", (GpuType(name="H100", memory_gb=80),))
    assert one.target == ("Gaudi3", "here")
