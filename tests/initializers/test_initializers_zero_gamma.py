import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from optix_tricks import mask_by_path
from optix_tricks.initializers import zero_gamma
from optix_tricks.training import BasicBlock, ResNet

LAST_OF_BRANCH = mask_by_path("conv2/norm/scale")


def one_block(*, zero_init_last_gamma):
    return ResNet(
        2,
        stages=(1,),
        block=BasicBlock,
        width=4,
        stem="cifar",
        zero_init_last_gamma=zero_init_last_gamma,
        rngs=nnx.Rngs(0),
    )


def test_it_is_the_switch_of_resnet_on_dicts_and_on_the_state_of_nnx():
    with_switch = nnx.state(one_block(zero_init_last_gamma=True), nnx.Param)
    without = nnx.state(one_block(zero_init_last_gamma=False), nnx.Param)
    equal = np.testing.assert_array_equal
    jax.tree.map(equal, zero_gamma(without, LAST_OF_BRANCH), with_switch)
    as_dict = zero_gamma(nnx.to_pure_dict(without), LAST_OF_BRANCH)
    jax.tree.map(equal, as_dict, nnx.to_pure_dict(with_switch))


def test_only_what_the_mask_selects_changes():
    params = {"a": {"scale": jnp.full(3, 2.0)}, "b": {"scale": jnp.ones(2)}, "c": None}
    zeroed = zero_gamma(params, {"a": False, "b": True, "c": False})
    assert zeroed["a"]["scale"] is params["a"]["scale"]
    np.testing.assert_array_equal(zeroed["b"]["scale"], jnp.zeros(2))
    assert zeroed["c"] is None
    np.testing.assert_array_equal(params["b"]["scale"], jnp.ones(2))
    half = zero_gamma({"scale": jnp.ones(2, jnp.bfloat16)}, mask_by_path("scale"))
    assert half["scale"].dtype == jnp.bfloat16


@pytest.mark.parametrize("relu", [False, True])
def test_the_branch_learns_unless_a_relu_follows_the_norm(relu):
    x = jax.random.normal(jax.random.key(0), (16, 4))
    params = {"kernel": jnp.eye(4), "norm": {"scale": jnp.ones(4), "bias": jnp.zeros(4)}}
    params = zero_gamma(params, mask_by_path("norm/scale"))

    def block(params):
        y = jax.nn.standardize(x @ params["kernel"], axis=0)
        y = params["norm"]["scale"][None] * y + params["norm"]["bias"][None]
        return x + (jax.nn.relu(y) if relu else y)

    np.testing.assert_array_equal(block(params), x)
    gradient = jax.grad(lambda params: (block(params) ** 2).sum())(params)
    assert gradient["norm"]["scale"].any() != relu
    assert gradient["norm"]["bias"].any() != relu
    assert not gradient["kernel"].any()  # until the scale has moved


def test_bad_masks_raise():
    params = {"norm": {"scale": jnp.ones(2)}}
    with (
        pytest.warns(UserWarning, match="'conv2/norm/scale' is found in no"),
        pytest.raises(ValueError, match="mask must select at least one parameter"),
    ):
        zero_gamma(params, mask_by_path("conv2/norm/scale"))
    with pytest.raises(ValueError, match="mask must hold True or False, got 1"):
        zero_gamma(params, {"norm": {"scale": 1.0}})
