"""Page's experiments on weight decay, on the network and the data they were made with.

Five parts, each with a JSON file of its own; what is there already is not run again.

    schedules  a training with and one without momentum: the article's plots i to vii
    constant   one at a constant rate: measured against predicted, layer by layer
    lars       SGD against LARS at SGD's equilibrium rate, from two starts
    gradients  their norms at one point against the batch size
    batch      both rules at four times the batch, the rate scaled in three ways
    rates      learning rate against test accuracy over four networks: plots viii and ix

The first two take minutes on a few CPU cores at width 16, `gradients` a minute or two,
the others hours.

    optix-tricks diagnose weight-norm --parts constant
    optix-tricks diagnose weight-norm --resume RUN

Source: "How to Train Your ResNet 6: Weight Decay", Page, 2019.
"""

from optix_tricks.studies._weight_norm._config import Config, check_config
from optix_tricks.studies._weight_norm._study import PARTS, run_study

__all__ = ["PARTS", "Config", "check_config", "run_study"]
