"""How speech sounds, by ITU-T P.862 (PESQ): the Python package pesq, which is compiled where it is installed."""

from importlib.util import find_spec

import numpy as np
from numpy.typing import NDArray

HERE = find_spec("pesq") is not None


def score(said: NDArray[np.int16], heard: NDArray[np.int16], rate: int) -> float:
    """MOS-LQO of P.862.1 or, of 16 kHz, P.862.2."""
    from pesq import pesq

    return float(pesq(rate, said, heard, "nb" if rate == 8000 else "wb"))
