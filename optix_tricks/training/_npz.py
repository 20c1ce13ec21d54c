"""NumPy's files of arrays, and what is said of those that are none."""

from pathlib import Path

import numpy as np

ZIP, NPY = b"PK", b"\x93NUMPY"  # how a .npz and a .npy file begin


def read_arrays(path: Path) -> dict[str, np.ndarray]:
    """Return the arrays of a .npz file by name, or that of a .npy file under "".

    Raises:
      ValueError: if it is neither, or holds Python's objects.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = Path(folder, "x.npz")
    ...     _ = path.write_text("1,2,3")
    ...     read_arrays(path)
    Traceback (most recent call last):
    ValueError: it is no file of NumPy's but begins with b'1,2,3'
    """
    with path.open("rb") as file:
        start = file.read(len(NPY))
        if not start.startswith((ZIP, NPY)):
            found = f"begins with {start!r}" if start else "is empty"
            raise ValueError(f"it is no file of NumPy's but {found}")
        file.seek(0)
        try:
            loaded = np.load(file, allow_pickle=False)
            return {"": loaded} if isinstance(loaded, np.ndarray) else dict(loaded)
        except ValueError as error:
            if "allow_pickle" in str(error):
                raise ValueError("it holds Python's objects, and no numbers") from error
            raise
