"""Every threshold of `diagnose`, with its reason.

A pair is where a statement starts to count and where it counts fully: in the middle, a
score of 1/2, it is as likely as not. Pairs of ratios are powers of ten.
"""

import math

Pair = tuple[float, float]

ROWS = 30  # twelve blocks in the second half need at least a row each, and some sense
BLOCKS = 12  # a line through them has ten degrees of freedom left
TESTS = 5  # fewer points have no minimum one could have passed

# A loss that falls by 6 % while the run doubles in length is still going somewhere; one
# that does not is not worth waiting for. The slope must be certain too: chance reaches
# 2.25 standard errors, with ten degrees of freedom, once in forty.
FALL: Pair = (0.02, 0.10)
SIGNIFICANCE: Pair = (1.5, 3.0)
CRAWL: Pair = (0.002, 0.01)  # slow, but a fall: walls alone would give none
# Flat is only what cannot hide a fall: its upper bound (3 standard errors) is below 19 %.
HIDDEN_FALL: Pair = (0.08, 0.3)
# And for some time: fifty rows of a healthy run can look flat.
PATIENCE: Pair = (100.0, 200.0)  # rows of the whole history

# A loss at 1.5 % of its start, or 97 % of the batch right, leaves little to explain.
LEVEL_LEFT: Pair = (-1.5, -2.2)
ACCURACY: Pair = (0.95, 0.99)
# A rate below a tenth of its peak: the schedule has ended the run, wherever it was.
RATE_LEFT: Pair = (-0.8, -1.2)
FELL: Pair = (0.05, 0.25)  # from the start: something was learnt
# Where the gradient is small or the schedule has ended: to a minimum, most likely.
FELL_FAR: Pair = (0.8, 0.95)
LEARNT: Pair = (0.2, 0.5)  # and enough to doubt that layers are cut off
# On its way down: by a quarter over the second half, or to a quarter of its peak.
RATE_FALLS: Pair = (0.9, 0.6)
RATE_LOWERED: Pair = (-0.4, -0.8)
RISING_RATE = 1.2  # from the middle to the end of the history: a warm-up

# Gradient norm x parameter norm / loss: the part of the loss that a change of the weights
# by their own size takes away to first order. Homogeneous losses have their degree, 1 or
# more, to the end; below 1 % the surface is flat. Where the parameters' norm was not
# logged: 1 % of the largest gradient.
SMALL_PULL: Pair = (-1.5, -2.5)
# Of a gradient's square that many parts noise to one of slope can be taken out. Beyond,
# the slope is the difference of two numbers that are equal up to their errors, and
# estimators clamp it: a huge noise scale tells that the slope is unknown, not that it is
# zero.
NOISE_TAKEN_OUT = 30.0
NEGATIVE = -0.01  # smallest over largest eigenvalue: less is negative curvature
# A gradient that halves while the loss stays: about to arrive, at a loss above zero.
ARRIVING: Pair = (0.3, 0.7)

RISE: Pair = (1.2, 2.0)  # the last loss over the first: worse than knowing nothing
UNLEARNT: Pair = (0.2, 0.5)  # the same of a run that got nowhere much
BLOWN_UP: Pair = (0.6, 1.2)  # parameters at eight times their first norm
SPIKED: Pair = (0.2, 0.7)  # the highest loss over the first: three times
GROWTH: Pair = (-0.02, -0.10)  # and not on its way back

# Successive gradients: -1 bounces between two walls, +1 goes straight, 0 is noise.
OPPOSED: Pair = (-0.2, -0.5)
COHERENT: Pair = (0.3, 0.6)
UNRELATED: Pair = (0.35, 0.15)
# Successive changes of the loss: -1/2 for white noise, -1 when every second row is high.
ALTERNATING: Pair = (-0.75, -0.95)
# |update| / |largest parameters so far| a step: 1e-3 is usual; at 0.1 the weights are new
# every ten steps.
TURNOVER: Pair = (-1.5, -0.5)
# The path over the second half in units of |parameters|: at most 3 % have been tried.
TRAVEL: Pair = (-1.0, -2.0)
# curvature x |update| / |gradient|: 2 throws from wall to wall, at 1 the steepest
# direction is minimised by one step, below 0.1 the step could be ten times longer.
BOUNCE: Pair = (1.0, 1.9)
AT_LIMIT: Pair = (-1.0, -0.3)
FAR_FROM_LIMIT: Pair = (-0.7, -1.3)

# The fitted change of gradient / parameter norm from the last layer to the first: a
# factor of ten is usual in plain nets that train; 200 in one that does not is the cause.
DEPTH_RATIO: Pair = (1.5, 3.0)
VANISHED: Pair = (4.0, 8.0)  # also in a run that is not stuck for certain
MIN_LAYERS = 4  # for a line through them
BURST: Pair = (2.0, 4.0)  # |gradient| / |parameters|: a rate of 1e-3 moves all of them
DEAD: Pair = (0.4, 0.7)  # of a layer that is silent in a stuck run
SILENT: Pair = (0.8, 0.95)  # of a layer that hardly lets anything through

TEST_RISE: Pair = (0.1, 0.5)  # of the test loss above its minimum
SMALL_GAP: Pair = (0.05, 0.15)  # accuracy of training less test: overfitted if it rises
LARGE_GAP: Pair = (0.2, 0.4)  # and if it does not
LOSS_GAP: Pair = (0.3, 0.7)  # log10(test / training loss) where there is no accuracy

NOISE_ABOVE_BATCH: Pair = (0.5, 1.5)  # noise scale / batch: ten parts noise to one
BATCH_ABOVE_NOISE: Pair = (0.5, 1.5)  # the reverse: ten elevenths of examples wasted

LIKELY = 0.5  # the score of a verdict
WORTH_NAMING = 0.2  # and of what else it could be


def ramp(x: float, pair: Pair) -> float:
    """From 0 at the pair's first value to 1 at its second; 0 for nan.

    >>> ramp(0.5, (0.0, 1.0)), ramp(-3.0, (-1.0, -2.0)), ramp(math.nan, (0.0, 1.0))
    (0.5, 1.0, 0.0)
    """
    if math.isnan(x):
        return 0.0
    low, high = pair
    return min(1.0, max(0.0, (x - low) / (high - low)))


def decades(x: float) -> float:
    """Base-ten logarithm, without raising: -inf for zero, nan for less.

    >>> decades(0.01), decades(0.0), decades(-1.0)
    (-2.0, -inf, nan)
    """
    if x == 0:
        return -math.inf
    return math.log10(x) if x > 0 else math.nan
