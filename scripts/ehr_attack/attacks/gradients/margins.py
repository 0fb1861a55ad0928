"""The margin of a flip, as every gradient path defines it."""

from torch import Tensor


def margins_of(logits: Tensor, labels: Tensor) -> Tensor:
    """logit_t - logit_y of every row, (rows,): positive where the prediction is not the label.

    logits: (rows, 2); labels: int64 (rows,), 0 or 1, the true class y; t is the other class.
    """
    return (logits[:, 1] - logits[:, 0]) * signs_of(labels, logits)


def signs_of(labels: Tensor, like: Tensor) -> Tensor:
    """(rows,): +1 for label 0 and -1 for label 1, in the dtype of `like`."""
    return (1 - 2 * labels).to(like.dtype)
