"""The training loop that is usually written: a Dataset of single stays and a DataLoader.

`train_plain` uses the default collate; `train_padded` pads and packs the sequences, as the public reproduction of 2023
does.
"""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence, pad_sequence
from torch.utils.data import DataLoader, Dataset

from ehr_attack.models.lstm import LSTMClassifier

Stay = tuple[Tensor, Tensor]


class Stays(Dataset[Stay]):
    """One stay an item: its inputs (hours, variables) and its label."""

    def __init__(self, inputs: Tensor, labels: Tensor) -> None:
        self._inputs = [torch.tensor(stay) for stay in inputs.numpy()]
        self._labels = [torch.tensor(label) for label in labels.numpy()]

    def __len__(self) -> int:
        return len(self._labels)

    def __getitem__(self, index: int) -> Stay:
        return self._inputs[index], self._labels[index]


def train_plain(model: LSTMClassifier, stays: Stays, batch_size: int, shuffle: bool = True) -> list[float]:
    """One epoch of Adam with the default collate; the loss of every batch."""
    loader: DataLoader[Stay] = DataLoader(stays, batch_size=batch_size, shuffle=shuffle)
    return _train(model, loader, lambda batch: (model(batch[0]), batch[1]))


def train_padded(model: LSTMClassifier, stays: Stays, batch_size: int, shuffle: bool = True) -> list[float]:
    """One epoch of Adam with padding in the collate and packed sequences in the model; the loss of every batch."""
    loader: DataLoader[Stay] = DataLoader(stays, batch_size=batch_size, shuffle=shuffle, collate_fn=_pad)
    return _train(model, loader, lambda batch: (_packed_forward(model, batch[0], batch[1]), batch[2]))


def _train(
    model: nn.Module, loader: DataLoader[Stay], forward: Callable[[Sequence[Tensor]], tuple[Tensor, Tensor]]
) -> list[float]:
    optimiser = torch.optim.Adam(model.parameters())
    model.train()
    losses = []
    for batch in loader:
        optimiser.zero_grad()
        logits, labels = forward(batch)
        loss = cross_entropy(logits, labels)
        loss.backward()
        optimiser.step()
        losses.append(loss.item())
    return losses


def _pad(stays: list[Stay]) -> tuple[Tensor, Tensor, Tensor]:
    inputs, labels = zip(*stays, strict=True)
    lengths = torch.tensor([len(stay) for stay in inputs])
    return pad_sequence(list(inputs), batch_first=True), lengths, torch.stack(labels)


def _packed_forward(model: LSTMClassifier, inputs: Tensor, lengths: Tensor) -> Tensor:
    packed, _ = model.lstm(pack_padded_sequence(inputs, lengths, batch_first=True, enforce_sorted=False))
    states, lengths = pad_packed_sequence(packed, batch_first=True)
    last = states[torch.arange(len(states)), lengths - 1]
    logits: Tensor = model.output(torch.relu(model.dense(last)))
    return logits
