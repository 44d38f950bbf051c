"""Arrays in .npy files of the user and our own, mapped: a header may claim any size, and no object is unpickled."""

from pathlib import Path

import numpy as np

from tandem.artifacts.read_errors import naming
from tandem.artifacts.user_files import by_descriptor, open_file

MAX_BYTES = 2**40


def map_array(path: Path, cure: str) -> np.ndarray:
    """The array of an .npy file; raises ValueError where it is none, or holds objects."""
    with naming(path, "not an array of numbers", cure), open_file(path, MAX_BYTES) as file:
        array = np.load(by_descriptor(file), mmap_mode="r", allow_pickle=False)
        if isinstance(array, np.ndarray):
            return array
        array.close()
        raise ValueError(f"{path}: holds several arrays, as .npz files do; {cure}")
