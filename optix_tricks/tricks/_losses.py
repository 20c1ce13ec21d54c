"""What is minimised."""

from optix_tricks import losses
from optix_tricks.tricks._optimizers import as_it_is
from optix_tricks.tricks._trick import trick

label_smoothing = trick(
    "loss",
    calls=losses.cross_entropy,
    name="label_smoothing",
    main="label_smoothing",
    needs=["distribution"],
    label_smoothing=0.1,
)(as_it_is)
focal = trick(
    "loss",
    calls=losses.focal_loss,
    name="focal",
    main="gamma",
    needs=["distribution"],
)(as_it_is)
mse = trick("loss", calls=losses.mean_squared_error, name="mse")(as_it_is)

confidence_penalty = trick(
    "loss",
    calls=losses.confidence_penalty,
    name="confidence_penalty",
    main="beta",
    needs=["distribution"],
)(as_it_is)
pairwise_confusion = trick(
    "loss",
    calls=losses.pairwise_confusion,
    name="pairwise_confusion",
    main="weight",
    needs=["distribution"],
    weight=0.1,
)(as_it_is)
