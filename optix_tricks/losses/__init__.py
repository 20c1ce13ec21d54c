"""Losses: arrays of outputs and labels to one loss per example.

| name | loss |
|---|---|
| `cross_entropy` | softmax cross-entropy, integer or dense labels, label smoothing |
| `confidence_penalty` | cross-entropy less a reward for the output's entropy |
| `focal_loss` | cross-entropy with less weight on what is classified well |
| `sigmoid_focal_loss` | the same for independent binary classifications |
| `pairwise_confusion` | cross-entropy and the distance of the outputs of pairs |
| `distillation` | cross-entropy and the divergence from a teacher |
| `mean_squared_error` | regression, or classification by one-hot labels |
| `one_hot` | class indices as dense labels, smoothed if wanted |
| `l1_penalty` | Σ abs(w) of the parameters, a scalar |
| `l2_penalty` | 1/2 Σ w² of the parameters, a scalar |
| `contrastive_loss` | pairs of embeddings: the same together, others a margin apart |
| `triplet_loss` | triplets mined in the batch, batch hard or semi-hard |
| `n_pair_loss` | each positive against those of the other pairs |
| `supervised_contrastive_loss` | all of one label against the rest; NT-Xent |
| `center_loss`, `update_centers` | embeddings drawn to the centre of their class |
| `arcface_logits`, `cosface_logits` | softmax of angles, with a margin |

Reductions belong to the caller. Losses are computed in float32, or in float64 if given.
On a mesh, of explicit axes too, the batch may be sharded: losses that compare examples
gather it.
"""

from optix_tricks._arguments import check_arguments
from optix_tricks.losses._center import center_loss, update_centers
from optix_tricks.losses._confidence_penalty import confidence_penalty
from optix_tricks.losses._contrastive import contrastive_loss
from optix_tricks.losses._cross_entropy import cross_entropy
from optix_tricks.losses._distillation import distillation
from optix_tricks.losses._focal import focal_loss, sigmoid_focal_loss
from optix_tricks.losses._margin_softmax import arcface_logits, cosface_logits
from optix_tricks.losses._n_pair import n_pair_loss
from optix_tricks.losses._one_hot import one_hot
from optix_tricks.losses._pairwise_confusion import pairwise_confusion
from optix_tricks.losses._penalties import l1_penalty, l2_penalty
from optix_tricks.losses._squared_error import mean_squared_error
from optix_tricks.losses._supervised_contrastive import supervised_contrastive_loss
from optix_tricks.losses._triplet import triplet_loss

__all__ = [
    "arcface_logits",
    "center_loss",
    "confidence_penalty",
    "contrastive_loss",
    "cosface_logits",
    "cross_entropy",
    "distillation",
    "focal_loss",
    "l1_penalty",
    "l2_penalty",
    "mean_squared_error",
    "n_pair_loss",
    "one_hot",
    "pairwise_confusion",
    "sigmoid_focal_loss",
    "supervised_contrastive_loss",
    "triplet_loss",
    "update_centers",
]

check_arguments(__name__)
