"""What a policy puts around an optimiser."""

import jax
import jax.numpy as jnp
import optax

import optix_tricks as ot
from optix_tricks.training import Policy, policy


def test_16_bits_get_masters_and_float16_a_loss_scale():
    for chosen, masters, scaled in [
        (policy("float32"), False, False),
        (policy("bfloat16"), False, False),
        (policy("float16"), False, True),
        (Policy(param=jnp.bfloat16), True, False),
        (Policy(param=jnp.float16), True, True),
    ]:
        params = {"w": jnp.ones(3, chosen.param)}
        state = chosen.optimizer(optax.sgd(0.1)).init(params)
        assert float(ot.loss_scale(state, default=1.0)) == (2.0**15 if scaled else 1)
        wide = [x for x in jax.tree.leaves(state) if jnp.shape(x) == (3,)]
        assert [x.dtype for x in wide] == [jnp.float32] * masters
