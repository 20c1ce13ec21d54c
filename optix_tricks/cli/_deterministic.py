"""What XLA is told before JAX starts, so that a GPU computes the same bits each time."""

import os

# No atomic additions, whose order differs, and no algorithms chosen by their time.
FLAG = "--xla_gpu_deterministic_ops=true"


def make_deterministic() -> None:
    """Tell XLA by its environment; a CPU and a TPU compute the same bits anyway."""
    said = os.environ.get("XLA_FLAGS", "")
    if FLAG not in said.split():
        os.environ["XLA_FLAGS"] = f"{said} {FLAG}".strip()
