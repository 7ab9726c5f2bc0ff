"""The way into NVIDIA Earth2Studio: a bundle as one of its diagnostic models."""

from orbitlite.earth2.downscaler import Earth2Downscaler

__all__ = ["Earth2Downscaler"]
