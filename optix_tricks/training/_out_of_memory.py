"""One sentence where a step does not fit into a device's memory."""

from collections.abc import Iterator
from contextlib import contextmanager

import jax

from optix_tricks.training._run_directory import RunError


@contextmanager
def memory_explained(batch_size: int) -> Iterator[None]:
    """Turn XLA's error into one that says what takes less.

    Raises:
      RunError: where XLA says RESOURCE_EXHAUSTED.
    """
    try:
        yield
    except jax.errors.JaxRuntimeError as error:
        if "RESOURCE_EXHAUSTED" not in str(error):
            raise
        raise RunError(
            f"the device's memory does not hold a step of {batch_size} examples: take"
            " fewer --with accumulation, compute activations again --with remat, pack the"
            " state by create_state(packed=True), or split it over devices by --layout"
            " fsdp; `optix-tricks compile` tells."
        ) from error
