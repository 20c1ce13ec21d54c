"""The data sets of the small runs: scikit-learn's, bundled or made."""

import functools

import numpy as np
from sklearn import datasets

REGRESSIONS = ("diabetes", "friedman1")
MADE = {
    "moons": functools.partial(datasets.make_moons, 1000, noise=0.2, random_state=0),
    "friedman1": functools.partial(
        datasets.make_friedman1, 800, noise=0.5, random_state=0
    ),
    "classification": functools.partial(
        datasets.make_classification,
        1200,
        30,
        n_informative=12,
        n_classes=4,
        random_state=0,
    ),
}


def load(name: str) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Training and test inputs and targets, the inputs centred with variance one."""
    if name == "teacher":  # a small network's classes
        rng = np.random.default_rng(7)
        x = rng.normal(size=(1500, 20))
        y = np.argmax(np.tanh(x @ rng.normal(size=(20, 8))) @ rng.normal(size=(8, 5)), 1)
    elif name in MADE:
        x, y = MADE[name]()
    else:
        x, y = getattr(datasets, f"load_{name}")(return_X_y=True)
        order = np.random.default_rng(0).permutation(len(x))
        x, y = x[order], y[order]
    x = (x - x.mean(0)) / (x.std(0) + 1e-3)
    if name in REGRESSIONS:
        y = (y - y.mean()) / y.std()
    cut = 4 * len(x) // 5 // 2 * 2
    return x[:cut], y[:cut], x[cut:], y[cut:]
