"""NetCDF-4 files that reach outside of themselves, or hold what NetCDF does not."""

from __future__ import annotations

import fsspec
import h5py
import numpy as np
import pytest

from orbitlite.data.source import open_source
from orbitlite.errors import InputError

NAME = "2m_temperature"


@pytest.fixture
def changed(coarse, tmp_path):
    """Return a function that writes a file and changes it by HDF5's own library."""
    (tmp_path / "secret").write_bytes(b"secrets!" * 100)
    coarse.to_netcdf(tmp_path / "other.nc")

    def make(change):
        path = tmp_path / "x.nc"
        coarse.to_netcdf(path)
        with h5py.File(path, "a") as file:
            change(file, tmp_path)
        return path

    return make


def external(file, folder):
    file.create_dataset("foo", (6,), "u1", external=[(str(folder / "secret"), 0, 6)])


def external_in_a_group(file, folder):
    group = file.create_group("a/b")
    group.create_dataset("foo", (6,), "u1", external=[(str(folder / "secret"), 0, 6)])


def virtual(file, folder, source="other.nc"):
    layout = h5py.VirtualLayout((6,), "f8")
    layout[:] = h5py.VirtualSource(source, "lat", (6,))
    file.create_virtual_dataset("foo", layout)


def link(file, folder):
    file["foo"] = h5py.ExternalLink("other.nc", "/lat")


def soft_link_to_a_link(file, folder):
    file["a/foo"] = h5py.ExternalLink("other.nc", "/")
    file["soft"] = h5py.SoftLink("/a/foo/lat")


@pytest.mark.parametrize(
    "change", [external, external_in_a_group, virtual, link, soft_link_to_a_link]
)
def test_other_files_are_not_read(changed, change, tmp_path):
    path = changed(change)
    fsspec.filesystem("memory").pipe("/x.nc", path.read_bytes())
    for url in (path, "memory://x.nc"):
        with pytest.raises(InputError, match=r"foo' is .* another file \('.*(secret|other\.nc)'\)"):
            open_source(url)


def test_a_file_may_be_made_of_its_own_parts(changed, coarse):
    found = open_source(changed(lambda file, folder: virtual(file, folder, ".")), [NAME])
    np.testing.assert_array_equal(found[NAME], coarse[NAME])


@pytest.mark.parametrize("kind", ["hard", "soft"])
def test_groups_without_end(changed, kind):
    def change(file, folder):
        group = file.create_group("a")
        group["again"] = file["/"] if kind == "hard" else h5py.SoftLink("/")

    with pytest.raises(InputError, match="stands in two places"):
        open_source(changed(change))


def test_bits_that_lead_nowhere(changed):
    def change(file, folder):
        file["foo"] = h5py.SoftLink("/nothing")

    with pytest.raises(InputError, match="Could not open"):
        open_source(changed(change))


@pytest.mark.parametrize(
    ("dtype", "said"),
    [
        (np.dtype("f2"), "floating numbers"),
        (np.dtype([("a", "i4"), ("b", "f8")]), "compound"),
        (np.dtype("c16"), "compound"),
        (np.dtype("V5"), "opaque"),
        (h5py.vlen_dtype("i4"), "lists of any length"),
        (h5py.ref_dtype, "references"),
        (np.dtype(("f4", (2,))), "arrays"),
    ],
)
def test_types_that_are_not_read(changed, coarse, dtype, said, caplog):
    path = changed(lambda file, folder: file.create_dataset("foo", (3,), dtype))
    found = open_source(path, [NAME])
    np.testing.assert_array_equal(found[NAME], coarse[NAME])
    assert sum(said in line and "'foo'" in line for line in caplog.messages) == 1


@pytest.mark.parametrize("dtype", [np.dtype(bool), h5py.string_dtype(), np.dtype("S4")])
def test_types_that_are(changed, dtype, caplog):
    open_source(changed(lambda file, folder: file.create_dataset("foo", (3,), dtype)), [NAME])
    assert "foo" not in caplog.text


def test_texts_that_all_are_long_are_not_read(changed, caplog):
    def change(file, folder):
        texts = file.create_dataset(
            "foo", (60_000,), h5py.string_dtype(), chunks=(60_000,), compression="gzip"
        )
        texts[0] = "x" * 50_000

    open_source(changed(change), [NAME])
    assert "60,000 texts of up to 50,000 letters" in caplog.text


def test_a_series_of_any_length_is_not_read(changed, caplog):
    open_source(
        changed(lambda file, _: file.create_dataset("foo", (10**11,), "f8", chunks=(1000,))), [NAME]
    )
    assert "100,000,000,000 values in one dimension" in caplog.text
