"""What is minimised."""

import functools

from optix_tricks import losses
from optix_tricks.tricks._trick import as_it_is, trick

of_classes = functools.partial(trick, "loss", needs=["distribution"])

label_smoothing = of_classes(
    calls=losses.cross_entropy,
    name="label_smoothing",
    main="label_smoothing",
    label_smoothing=0.1,
)(as_it_is)
focal = of_classes(calls=losses.focal_loss, name="focal", main="gamma")(as_it_is)
confidence_penalty = of_classes(
    calls=losses.confidence_penalty, name="confidence_penalty", main="beta"
)(as_it_is)
pairwise_confusion = of_classes(
    calls=losses.pairwise_confusion,
    name="pairwise_confusion",
    main="weight",
    needs=["classes", "distribution"],
    weight=0.1,
)(as_it_is)
mse = trick("loss", calls=losses.mean_squared_error, name="mse")(as_it_is)
