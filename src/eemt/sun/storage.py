"""Daily maps as their files keep them: rounded within a stated bound, in one pass."""

import numpy as np
import numpy.typing as npt
from numba import njit

WHOLE_NODATA = 65535
HOUR_STEPS = 128  # of an hour; insolation is kept to the nearest, 14 s at most from the truth

Floats = npt.NDArray[np.float32]


@njit(cache=True, nogil=True)
def _to_whole(values, whole):  # type: ignore[no-untyped-def]
    for i in range(values.size):
        value = values[i]
        # a comparison with NaN is false
        whole[i] = np.uint16(np.int32(value + np.float32(0.5)) if value >= np.float32(0.0) else np.int32(WHOLE_NODATA))


@njit(cache=True, nogil=True)
def _to_steps(values, steps):  # type: ignore[no-untyped-def]
    for i in range(values.size):
        steps[i] = np.floor(values[i] * np.float32(HOUR_STEPS) + np.float32(0.5)) * np.float32(1 / HOUR_STEPS)


def whole_numbers(values: Floats, out: npt.NDArray[np.uint16] | None = None) -> npt.NDArray[np.uint16]:
    """Round values that are not negative to whole numbers; NaN becomes `WHOLE_NODATA`.

    Parameters
    ----------
    values : ndarray float32, C order
    out : ndarray uint16 of the same shape, optional
        Taken for the result instead of a new array.
    """
    whole = np.empty(values.shape, np.uint16) if out is None else out
    _to_whole(values.reshape(-1), whole.reshape(-1))
    return whole


def hour_steps(values: Floats, out: Floats | None = None) -> Floats:
    """Round hours to the nearest `HOUR_STEPS`-th; NaN stays NaN. See `whole_numbers`."""
    steps = np.empty(values.shape, np.float32) if out is None else out
    _to_steps(values.reshape(-1), steps.reshape(-1))
    return steps
