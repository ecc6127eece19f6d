"""Which places a stranger may name."""

from __future__ import annotations

import posixpath

import pytest
from hypothesis import given
from hypothesis import strategies as st

from propeller.errors import Invalid
from propeller.storage import Storage, StorageOptions, read_offloaded
from tests.unit.storage.values import offloaded, wired

S3 = StorageOptions(metadata_prefix="s3://data/metadata/propeller", raw_output_prefix="s3://raw/outputs")
FILES = StorageOptions(metadata_prefix="file:///srv/meta", raw_output_prefix="file:///srv/raw/")


@pytest.mark.parametrize(
    ("settings", "uri"),
    [
        (S3, "s3://data/metadata/admin/p/d/name/inputs"),
        (S3, "s3://data/metadata/propeller/p-d-e/n0/data/0/o0"),
        (S3, "s3://raw/outputs/x"),
        (FILES, "file:///srv/meta/a"),
        (FILES, "file:///srv/raw/b/c"),
        (StorageOptions(read_prefixes=("s3://other/part",)), "s3://other/part/a"),
        (StorageOptions(read_prefixes=("file:///mnt/shared",)), "file:///mnt/shared/a"),
    ],
)
def test_uris_below_the_prefixes_and_in_their_buckets_may_be_read(settings: StorageOptions, uri: str) -> None:
    Storage(settings).require_readable(uri, "offloadedInputs")


@pytest.mark.parametrize(
    ("settings", "uri"),
    [
        (S3, "s3://others/metadata/admin/inputs"),
        (S3, "s3://database/metadata"),
        (S3, "file:///etc/passwd"),
        (FILES, "file:///etc/passwd"),
        (FILES, "file:///srv/metadata"),
        (FILES, "s3://srv/meta/a"),
        (StorageOptions(read_prefixes=("s3://other/part",)), "s3://other/partner/a"),
        (S3, "/etc/passwd"),
        (S3, ""),
    ],
)
def test_other_uris_are_refused_with_the_field_and_the_setting(settings: StorageOptions, uri: str) -> None:
    with pytest.raises(Invalid, match=r"offloadedInputs is .*") as refused:
        Storage(settings).require_readable(uri, "offloadedInputs")
    assert repr(uri) in str(refused.value)
    assert "storage.read_prefixes" in str(refused.value) or "component" in str(refused.value)


segments = st.sampled_from(["srv", "meta", "raw", "..", ".", "", "etc", "passwd", "a", "...", "..a", "%2e%2e", "a b"])


@given(path=st.lists(segments, max_size=8), scheme=st.sampled_from(["file", "s3"]))
def test_no_path_of_any_components_is_allowed_that_leads_elsewhere(path: list[str], scheme: str) -> None:
    settings = FILES if scheme == "file" else StorageOptions(metadata_prefix="s3://srv/meta", raw_output_prefix="")
    uri = f"{scheme}:///{'/'.join(path)}" if scheme == "file" else f"s3://{'/'.join(path)}"
    try:
        Storage(settings).require_readable(uri, "field")
    except Invalid:
        return
    led_to = posixpath.normpath(uri.partition("://")[2])
    assert led_to == uri.partition("://")[2]
    assert led_to.startswith(("/srv/meta/", "/srv/raw/") if scheme == "file" else "srv/")


async def test_a_tasks_literal_cannot_make_the_controller_read_other_uris() -> None:
    async with Storage(FILES) as storage:
        with pytest.raises(Invalid, match=r"offloaded_metadata\.uri of a literal is 'file:///etc/passwd'"):
            await read_offloaded(storage, wired(offloaded("file:///etc/passwd")))


async def test_somebodys_own_command_reads_whatever_a_resource_names() -> None:
    Storage(FILES, trusting=True).require_readable("s3://anywhere/at/all", "offloadedInputs")
