"""Losses per task. Each is an argument of the engine, which knows none of them by name.

Shapes, for all: outputs (..., n_rows, n_outputs); y (..., n_rows); mask (..., n_rows); returns (...), the mean over
the rows whose mask is 1 (and 0 where there is none).
"""

import torch
from torch import Tensor
from torch.nn import functional as F


def row_weights(mask: Tensor) -> Tensor:
    """Share of each row in its task's mean, (..., n_rows); all 0 in an empty task, so that it cannot move anything."""
    return mask / mask.sum(-1, keepdim=True).clamp(min=1.0)


def masked_mean(row_losses: Tensor, mask: Tensor) -> Tensor:
    """Average (..., n_rows) over unmasked rows; an empty task gives 0."""
    return (row_losses * row_weights(mask)).sum(-1)


def binary_cross_entropy(outputs: Tensor, y: Tensor, mask: Tensor) -> Tensor:
    """Log loss of default in nats. Outputs are logits, one per member; each member pays for itself (as in TabM)."""
    target = y.unsqueeze(-1).expand_as(outputs)
    weight = row_weights(mask).unsqueeze(-1) / outputs.shape[-1]
    return F.binary_cross_entropy_with_logits(outputs, target, weight, reduction="none").sum((-2, -1))


def squared_error(outputs: Tensor, y: Tensor, mask: Tensor) -> Tensor:
    """Mean squared error, in squared units of y."""
    return masked_mean((outputs - y.unsqueeze(-1)).square().mean(-1), mask)


def cross_entropy(outputs: Tensor, y: Tensor, mask: Tensor) -> Tensor:
    """N-way classification in nats; y holds class indices (integer dtype)."""
    log_shares = F.log_softmax(outputs, dim=-1)
    return masked_mean(-log_shares.gather(-1, y.unsqueeze(-1)).squeeze(-1), mask)


def logit_of_mean(outputs: Tensor) -> Tensor:
    """Turn member logits (..., n_rows, n_members) into the logit of their mean probability (..., n_rows)."""
    log_n = torch.log(torch.tensor(float(outputs.shape[-1]), dtype=outputs.dtype, device=outputs.device))
    log_pd = torch.logsumexp(F.logsigmoid(outputs), dim=-1) - log_n
    log_good = torch.logsumexp(F.logsigmoid(-outputs), dim=-1) - log_n
    return log_pd - log_good
