"""Addresses: what may grant access, or tell of a machine, is left out, and nothing else."""

import pytest

from orbitlite.addresses import published, without_secrets


@pytest.mark.parametrize(
    ("address", "safe"),
    [
        ("https://a.org/x.nc?sig=abc&se=1", "https://a.org/x.nc"),
        ("https://a.org/x.nc?abc", "https://a.org/x.nc"),
        ("https://a.org?abc", "https://a.org"),
        ("https://a.org/x.nc#token=abc", "https://a.org/x.nc"),
        ("HTTPS://me:word@a.org:8080/x.zarr", "HTTPS://a.org:8080/x.zarr"),
        ("https://token@a.org/x.zarr", "https://a.org/x.zarr"),
        ("ssh://me:w@rd@host/x.nc", "ssh://host/x.nc"),
        ("abfs://box@account.dfs.core.windows.net/x", "abfs://box@account.dfs.core.windows.net/x"),
        ("s3://bucket/x.nc?versionId=abc", "s3://bucket/x.nc"),
        ("s3://bucket/era5_20??.nc", "s3://bucket/era5_20??.nc"),
        ("zip://x.nc::simplecache::https://a.org/x.zip?sig=a",
         "zip://x.nc::simplecache::https://a.org/x.zip"),
        ("/data/era5_?.nc", "/data/era5_?.nc"),
        ("mail@home/x#1.nc", "mail@home/x#1.nc"),
        ("", ""),
    ],
)  # fmt: skip
def test_secrets(address, safe):
    assert without_secrets(address) == safe


@pytest.mark.parametrize(
    ("address", "known"),
    [
        ("/home/me/era5.zarr/", "era5.zarr"),
        ("~/data/x.nc", "x.nc"),
        ("data/x_*.nc", "x_*.nc"),
        ("x.nc", "x.nc"),
        ("C:\\Users\\me\\x.nc", "x.nc"),
        ("file:///home/me/x.nc", "x.nc"),
        ("sftp://me@host/home/me/x.nc", "x.nc"),
        ("gs://bucket/era5.zarr", "gs://bucket/era5.zarr"),
        ("hf://org/name@1f", "hf://org/name@1f"),
        ("https://me:word@a.org/x.nc?sig=1", "https://a.org/x.nc"),
        ("zip://x.nc::/home/me/x.zip", "x.nc::x.zip"),
        ("simplecache::s3://bucket/x.nc", "simplecache::s3://bucket/x.nc"),
    ],
)
def test_what_is_published(address, known):
    assert published(address) == known
