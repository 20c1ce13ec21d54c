"""A rate for each layer."""

import jax
import jax.numpy as jnp
import optax

import optix_tricks as ot
from cases.row import Case

LINKS = [
    Case(
        "scale_by_lars",
        ot.scale_by_lars,
        {"trust_coefficient": 0.02, "weight_decay": 0.1, "eps": 1e-3},
        neutral={"mask": False},
    ),
    Case(
        "scale_by_lars_undecayed",
        ot.scale_by_lars,
        {"trust_coefficient": 0.02, "weight_decay": 0.0, "eps": 1e-3},
        {"mask": None},
        twin=lambda: optax.scale_by_trust_ratio(trust_coefficient=0.02, eps=1e-3),
    ),
    Case(
        "scale_by_lars_page",
        ot.scale_by_lars,
        {"trust_coefficient": 0.5, "weight_decay": 0.1, "eps": 1e-2},
        {"ratio": "page", "per_filter": True},
        neutral={"mask": False},
    ),
    Case(
        "scale_by_trust_ratio",
        ot.scale_by_trust_ratio,
        {"min_norm": 3.0, "trust_coefficient": 0.5, "eps": 1e-3},
        twin=lambda: optax.scale_by_trust_ratio(3.0, 0.5, 1e-3),
    ),
    Case(
        "scale_by_trust_ratio_bounded",
        ot.scale_by_trust_ratio,
        {"min_ratio": 0.95, "max_ratio": 1.05},
        {"phi": lambda norm: jnp.clip(norm, 1.0, 10.0)},
        neutral={"min_ratio": 1.0, "max_ratio": 1.0},
    ),
    Case(
        "scale_by_rotation",
        ot.scale_by_rotation,
        {"rotation": 0.1, "decay": 0.7},
        neutral={"mask": False},
    ),
    Case(
        "scale_by_rotation_centered",
        ot.scale_by_rotation,
        {"rotation": 0.1, "decay": 0.7},
        {"per_neuron": False, "zero_mean": True},
        neutral={"mask": False},
    ),
]


def of_kernel_alone(tree):
    """Optax's description of the kernel of a convolution; None for the rest."""
    dims = optax.contrib.MuonDimensionNumbers((0, 1, 2), 3)
    return jax.tree.map(lambda x: dims if x.ndim == 4 else None, tree)


def of_all_matrices(tree):
    dims = {
        2: optax.contrib.MuonDimensionNumbers(),
        4: optax.contrib.MuonDimensionNumbers((0, 1, 2), 3),
    }
    return jax.tree.map(lambda x: dims.get(x.ndim), tree)


MUON = {
    "learning_rate": 0.1,
    "beta": 0.8,
    "eps": 1e-3,
    "weight_decay": 0.2,
    "adam_b1": 0.7,
    "adam_b2": 0.9,
    "adam_eps": 1e-4,
    "adam_weight_decay": 0.3,
}
# Without Nesterov's term Optax's average and our sum differ by a factor, which
# Newton-Schulz loses but for eps; Optax has one eps for both groups.
MUON_AT = {"nesterov": False, "eps": 1e-7, "adam_eps": 1e-7}

OPTIMISERS = [
    Case(
        "lars",
        ot.lars,
        {
            "learning_rate": 0.5,
            "weight_decay": 0.0,
            "trust_coefficient": 0.02,
            "momentum": 0.8,
            "eps": 1e-3,
        },
        twin=lambda: optax.lars(
            0.5,
            0.0,
            trust_coefficient=0.02,
            momentum=0.8,
            eps=1e-3,
            trust_ratio_mask=ot.no_bias_or_norm,
        ),
    ),
    Case(
        "lars_decayed",
        ot.lars,
        {"learning_rate": 0.5, "weight_decay": 0.1},
        twin=lambda: optax.lars(0.5, trust_ratio_mask=ot.no_bias_or_norm),
        twin_at={"weight_decay": 0.0},
    ),
    Case(
        "lars_optax",
        ot.lars,
        {"learning_rate": 0.5, "weight_decay": 0.1},
        {"ratio": "optax"},
        twin=lambda: optax.lars(
            0.5, 0.1, ot.no_bias_or_norm, trust_ratio_mask=ot.no_bias_or_norm
        ),
    ),
    Case(
        "lamb",
        ot.lamb,
        {
            "learning_rate": 0.1,
            "b1": 0.8,
            "b2": 0.9,
            "eps": 1e-4,
            "weight_decay": 0.2,
        },
        {"mask": ot.no_bias_or_norm},
        twin=lambda: optax.lamb(
            0.1, 0.8, 0.9, 1e-4, weight_decay=0.2, mask=ot.no_bias_or_norm
        ),
    ),
    Case(
        "lamb_bounded",
        ot.lamb,
        {"learning_rate": 0.1, "min_ratio": 0.5, "max_ratio": 0.9},
        {"b1": 0.8, "b2": 0.9, "trust_ratio_mask": ot.no_bias_or_norm},
        twin=lambda: optax.adam(0.1, 0.8, 0.9, 1e-6),
        twin_at={"min_ratio": 1.0, "max_ratio": 1.0},
    ),
    Case(
        "muon",
        ot.muon,
        MUON,
        {"ns_steps": 1},
        twin=lambda: optax.contrib.muon(
            0.1,
            ns_steps=1,
            beta=0.8,
            eps=1e-7,
            weight_decay=0.2,
            nesterov=False,
            adam_b1=0.7,
            adam_b2=0.9,
            adam_weight_decay=0.3,
            muon_weight_dimension_numbers=of_kernel_alone,
        ),
        twin_at=MUON_AT,
    ),
    Case(
        "muon_of_two_rates",
        ot.muon,
        MUON | {"consistent_rms": 0.2, "adam_learning_rate": 0.03},
        {"ns_steps": 2, "mask": None},
        twin=lambda: optax.contrib.muon(
            0.1,
            ns_steps=2,
            beta=0.8,
            eps=1e-7,
            weight_decay=0.2,
            nesterov=False,
            adam_b1=0.7,
            adam_b2=0.9,
            adam_weight_decay=0.3,
            adam_learning_rate=0.03,
            consistent_rms=0.2,
            muon_weight_dimension_numbers=of_all_matrices,
        ),
        twin_at=MUON_AT,
    ),
    Case(
        "lars_plain",
        ot.lars,
        {"learning_rate": 0.5},
        {"momentum": None},
        twin=lambda: optax.chain(
            optax.masked(
                optax.scale_by_trust_ratio(trust_coefficient=0.001), ot.no_bias_or_norm
            ),
            optax.scale_by_learning_rate(0.5),
        ),
    ),
]
