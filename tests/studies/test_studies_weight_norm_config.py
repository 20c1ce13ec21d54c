"""The numbers of the experiments, and the optimiser of the article."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from optix_tricks.studies._weight_norm._config import (
    Config,
    check_config,
    heavy_ball,
    peaked_schedule,
    share_of,
)
from tests.studies.toy_study import TOY


def test_a_rate_rises_over_a_fifth_and_falls_to_zero():
    schedule = peaked_schedule(3.0, 50)
    at = np.array([float(schedule(i)) for i in range(51)])
    wanted = np.interp(np.arange(51), [0, 10, 50], [0, 3, 0])
    np.testing.assert_allclose(at, wanted, atol=1e-6)
    assert float(peaked_schedule(3.0, 1)(0)) == 3  # one step, at the peak
    assert float(peaked_schedule(3.0, 1)(1)) == 0


def test_decay_of_kernels_goes_through_the_momentum():
    w = {"kernel": jnp.array([[2.0]]), "bias": jnp.array([2.0])}
    g = {"kernel": jnp.array([[0.5]]), "bias": jnp.array([0.5])}
    tx = heavy_ball(0.1, weight_decay=0.25, momentum=0.5)
    state = tx.init(w)
    for v in (1.0, 1.5):
        updates, state = tx.update(g, state, w)
        assert float(updates["kernel"][0, 0]) == pytest.approx(-0.1 * v)
        assert float(updates["bias"][0]) == pytest.approx(-0.1 * v / 2)
    plain = heavy_ball(0.1, weight_decay=0.25, momentum=0.0)
    assert len(jax.tree.leaves(plain.init(w))) < len(jax.tree.leaves(state))  # no trace


def test_the_recipe_has_the_settings_and_no_cutout():
    setup = TOY.setup(epochs=5)
    numbers = {name: x for trick in setup.tricks for name, x in trick.numbers}
    assert (setup.epochs, setup.batch_size) == (5, 64)
    assert (numbers["width"], numbers["momentum"]) == (2, 0.9)
    assert "cutout" not in [trick.name for trick in setup.tricks]


def test_epochs_of_sweeps_are_counted_together():
    told = []
    share_of(lambda *at: told.append(at), 2, 3)(1, 10)
    share_of(lambda *at: told.append(at), 0, 3)(10, 10)
    assert told == [(20, 30), (9, 30)]


def test_counts_have_a_least():
    for name, least in [
        *((n, 1) for n in ("width", "batch_size", "epochs", "sweep_epochs", "seeds")),
        ("sweep_width", 2),
        ("constant_steps", 4),
    ]:
        check_config(Config(**{name: least}))
        with pytest.raises(ValueError, match=f"{name} must be at least {least}"):
            check_config(Config(**{name: least - 1}))
        with pytest.raises(ValueError, match="momentum must be in"):
            check_config(Config(momentum=1.0))
        with pytest.raises(ValueError, match="constant_rate must be positive"):
            check_config(Config(constant_rate=0.0))
