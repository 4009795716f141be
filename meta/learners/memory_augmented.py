"""A memory-augmented network: an LSTM reads the support row by row and writes to a memory that later rows read.

Source: Santoro, Bartunov, Botvinick, Wierstra, Lillicrap 2016, arXiv:1605.06065, section 3, Eqs. 2 to 8: a row comes
with the label of the row before it, and is written to the least used slot or to where the last row has read; what was
read goes to the last layer and, with the next row, to the controller.
Deviations: a query row is answered without being written, after the whole support, so that queries do not hear of one
another, and only queries are scored, where the paper scores every row as it comes; of several heads, each writes to a
least used slot of its own. On credit those of ``meta.learners.in_context``,
and a row comes with its own label, a query row with none: nothing is to be predicted while the support is read, and a
few dozen meta-batches are too few to learn to bind a row to what comes after it.
"""

from dataclasses import dataclass
from typing import ClassVar, NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from meta.learners.in_context import InContext, drawn
from meta.types import Params

TINY = 1e-6  # lengths of vectors are taken for at least this: an empty slot is similar to nothing


class State(NamedTuple):
    """Where reading stands after a row.

    hidden, cell (n_tasks, hidden): the controller's; memory (n_tasks, n_slots, slot_size); read (n_tasks, n_heads,
    n_slots): where each head has read, and recalled (n_tasks, n_heads * slot_size) what; usage (n_tasks, n_slots).
    """

    hidden: Tensor
    cell: Tensor
    memory: Tensor
    read: Tensor
    recalled: Tensor
    usage: Tensor


@dataclass(frozen=True)
class MemoryAugmented(InContext):
    """theta is the embedding, the controller (``lstm_x`` of a row and its label, ``lstm_h`` of its own state,
    ``lstm_r`` of what the row before it recalled, ``lstm_b``), its keys (``key``, ``key_b``), the gate between writing
    places (``alpha``, one a head) and the last layer (``out``, ``out_b``).

    seen: ``memory`` (n_slots, slot_size), ``hidden``, ``cell`` (hidden,), ``recalled`` (n_heads * slot_size,), and
    ``label`` (n_classes,) that a query row comes with: the last row's, or 0 where labels do not follow.
    """

    hidden: int = 32
    n_slots: int = 128
    slot_size: int = 40
    n_heads: int = 1
    decay: float = 0.95  # gamma of Eq. 5
    labels_follow: bool = True  # as published: a row's label comes with the next row; on credit it never does

    in_sequence: ClassVar[bool] = True

    def own(self, width: int, generator: torch.Generator) -> Params:
        keys = self.n_heads * self.slot_size
        shapes = {
            "lstm_x": (width + self.n_classes, 4 * self.hidden),
            "lstm_h": (self.hidden, 4 * self.hidden),
            "key": (self.hidden, keys),
            "out": (self.hidden + keys, self.n_classes),
        }
        layers = {name: drawn(shape, generator) for name, shape in shapes.items()}
        biases = {"lstm_b": 4 * self.hidden, "key_b": keys, "alpha": self.n_heads, "out_b": self.n_classes}
        # what is recalled before keys mean anything is noise, and the controller is slow to learn while it hears it
        deaf = {"lstm_r": torch.zeros(keys, 4 * self.hidden)}
        return layers | deaf | {name: torch.zeros(length) for name, length in biases.items()}

    def read(self, own: Params, embedded: Tensor, labels: Tensor, weights: Tensor) -> Params:
        state, label = self._nothing_read(embedded), embedded.new_zeros(len(embedded), self.n_classes)
        seen, follow = (weights > 0).unsqueeze(-1), self.labels_follow and not self.on_credit
        into = embedded @ own["lstm_x"][: embedded.shape[-1]] + own["lstm_b"]
        from_label = own["lstm_x"][embedded.shape[-1] :]
        for t in range(embedded.shape[1]):
            heard = label if follow else labels[:, t]
            after = self._step(own, state, into[:, t] + heard @ from_label)
            state = State(*(_where(seen[:, t], new, old) for new, old in zip(after, state, strict=True)))
            label = torch.where(seen[:, t] & follow, labels[:, t], label)
        return {name: getattr(state, name) for name in ("memory", "hidden", "cell", "recalled")} | {"label": label}

    def answer(self, own: Params, seen: Params, embedded: Tensor) -> Tensor:
        label = seen["label"].unsqueeze(-2).expand(*embedded.shape[:-1], self.n_classes)
        into = torch.cat([embedded, label], dim=-1) @ own["lstm_x"] + own["lstm_b"].unsqueeze(-2)
        into = into + seen["hidden"].unsqueeze(-2) @ own["lstm_h"]
        if "lstm_r" in own:  # thetas of before the controller heard what was recalled answer as they did
            into = into + seen["recalled"].unsqueeze(-2) @ own["lstm_r"]
        hidden, _ = lstm(into, seen["cell"].unsqueeze(-2))
        keys = self._keys(hidden @ own["key"] + own["key_b"].unsqueeze(-2))
        memory = seen["memory"].unsqueeze(-3)
        read = (read_weights(keys, memory) @ memory).flatten(-2)
        return torch.cat([hidden, read], dim=-1) @ own["out"] + own["out_b"].unsqueeze(-2)

    def _keys(self, raw: Tensor) -> Tensor:
        return torch.tanh(raw).reshape(*raw.shape[:-1], self.n_heads, self.slot_size)

    def _nothing_read(self, like: Tensor) -> State:
        n = len(like)
        hidden, usage = like.new_zeros(n, self.hidden), like.new_zeros(n, self.n_slots)
        memory, read = like.new_zeros(n, self.n_slots, self.slot_size), like.new_zeros(n, self.n_heads, self.n_slots)
        return State(hidden, hidden, memory, read, like.new_zeros(n, self.n_heads * self.slot_size), usage)

    def _step(self, own: Params, state: State, into: Tensor) -> State:
        """Read one row: write its key, then see where the memory answers to it."""
        into = into + state.hidden @ own["lstm_h"]
        if "lstm_r" in own:
            into = into + state.recalled @ own["lstm_r"]
        hidden, cell = lstm(into, state.cell)
        keys = self._keys(hidden @ own["key"] + own["key_b"])
        least = least_used(state.usage, self.n_heads)
        write = write_weights(own["alpha"], state.read, least)
        memory = written(state.memory, keys, write, least)
        read = read_weights(keys, memory)
        recalled = (read @ memory).flatten(-2)
        return State(hidden, cell, memory, read, recalled, used(state.usage, read, write, self.decay))


def lstm(into: Tensor, cell: Tensor) -> tuple[Tensor, Tensor]:
    """One step of an LSTM from its summed inputs (..., 4 * hidden): input, forget, output, candidate."""
    take, keep, show, candidate = into.chunk(4, dim=-1)
    cell = torch.sigmoid(keep) * cell + torch.sigmoid(take) * torch.tanh(candidate)
    return torch.sigmoid(show) * torch.tanh(cell), cell


def read_weights(keys: Tensor, memory: Tensor) -> Tensor:
    """Softmax over slots of cosine similarity, Eqs. 2 and 3.

    Shapes:  keys (..., n_heads, slot_size); memory (..., n_slots, slot_size); returns (..., n_heads, n_slots). What is
             read is these weights @ memory, Eq. 4.
    """
    lengths = keys.norm(dim=-1).unsqueeze(-1) * memory.norm(dim=-1).unsqueeze(-2)
    return torch.softmax(keys @ memory.mT / lengths.clamp(min=TINY), dim=-1)


def used(usage: Tensor, read: Tensor, write: Tensor, decay: float) -> Tensor:
    """Usage of slots decays and grows by reading and writing, Eq. 5."""
    return decay * usage + read.sum(-2) + write.sum(-2)


def least_used(usage: Tensor, n_heads: int) -> Tensor:
    """One-hot marks of the ``n_heads`` least used slots, Eq. 6: (..., n_heads, n_slots); of equals, the first."""
    places = usage.detach().argsort(dim=-1, stable=True)[..., :n_heads]
    return F.one_hot(places, usage.shape[-1]).to(usage)


def write_weights(alpha: Tensor, read_before: Tensor, least: Tensor) -> Tensor:
    """Between where the head has read last and its least used slot, Eq. 7; alpha (n_heads,)."""
    share = torch.sigmoid(alpha).unsqueeze(-1)
    return share * read_before + (1.0 - share) * least


def written(memory: Tensor, keys: Tensor, write: Tensor, least: Tensor) -> Tensor:
    """Empty the least used slots, then add keys as far as they are written, Eq. 8."""
    return memory * (1.0 - least.sum(-2)).unsqueeze(-1) + write.mT @ keys


def _where(seen: Tensor, new: Tensor, old: Tensor) -> Tensor:
    return torch.where(seen.reshape(-1, *[1] * (new.dim() - 1)), new, old)
