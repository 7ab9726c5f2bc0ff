"""Reading: blocks of the input."""

from __future__ import annotations

import logging

import numpy as np
from numpy.typing import NDArray

from orbitlite.errors import InputError
from orbitlite.inference.pieces import Block
from orbitlite.inference.prediction import Prediction
from orbitlite.remote import reason

logger = logging.getLogger(__name__)


def read(prediction: Prediction, block: Block) -> NDArray[np.float32]:
    """Read the input of a block, (n, C, rows, W).

    Raises
    ------
    InputError
        If it cannot be read.
    """
    fields = prediction.coarse[*block.member, block.steps, :, block.rows].data
    try:
        values = fields.compute(scheduler="synchronous") if hasattr(fields, "dask") else fields
    except InputError:
        raise
    except Exception as error:  # libraries behind a store raise exceptions of every kind
        logger.debug("The input could not be read.", exc_info=True)
        raise InputError(
            f"the input cannot be read ({reason(error)}); is the source whole?"
        ) from error
    return np.asarray(values, np.float32)
