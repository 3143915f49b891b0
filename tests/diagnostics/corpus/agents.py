"""Policies, worlds and loops over cells."""

from types import ModuleType
from typing import Any

import torch
from torch import Tensor
from torch.nn.utils import parametrizations

from tests.diagnostics.corpus.case import Net, Subject, mistake, right


@mistake("memory")
def state_kept_at_the_end(nn: ModuleType, is_right: bool) -> Subject:
    """The state is wiped where an episode has ended; or everywhere else."""

    def compute(m: Any, seen: Tensor, ended: Tensor) -> Tensor:
        h, acts = seen.new_zeros(seen.shape[1], 6), []
        for x, end in zip(seen, ended, strict=True):
            keep = ~end if is_right else end
            h = m.cell(x, h * keep.unsqueeze(1).to(h.dtype))
            acts.append(m.act(h))
        return torch.stack(acts)

    model = Net(compute, cell=nn.GRUCell(4, 6), act=nn.Linear(6, 3))
    ended = torch.zeros(8, 4, dtype=torch.bool)
    ended[2, 0] = ended[5, 3] = True
    return Subject(model, (torch.randn(8, 4, 4), ended), {"batch_dim": 1})


@mistake("use")
def members_unpacked_the_wrong_way(nn: ModuleType, is_right: bool) -> Subject:
    """A controller passes on h and c; or calls them by each other's name."""

    def compute(m: Any, x: Tensor) -> Tensor:
        h = c = x.new_zeros(len(x), 5)
        for x_t in x.unbind(1):
            if is_right:
                h, c = m.cell(x_t, (h, c))
            else:
                c, h = m.cell(x_t, (h, c))
        return m.force(h)

    model = Net(compute, cell=nn.LSTMCell(3, 5), force=nn.Linear(5, 2))
    return Subject(model, (torch.randn(4, 7, 3),))


@mistake(missed="every module gets a gradient, if a short one")
def state_cut_at_each_step(nn: ModuleType, is_right: bool) -> Subject:
    """A loop learns through all of its steps; or through one, since each cuts the graph."""

    def compute(m: Any, x: Tensor) -> Tensor:
        h = x.new_zeros(len(x), 5)
        for x_t in x.unbind(1):
            h = m.cell(x_t, h if is_right else h.detach())
        return m.goal(h)

    model = Net(compute, cell=nn.GRUCell(3, 5), goal=nn.Linear(5, 2))
    return Subject(model, (torch.randn(4, 7, 3),))


@right
def actor_and_critic(nn: ModuleType) -> Subject:
    """A rollout, steps first, with states that are wiped between episodes; two heads, a dictionary."""

    def compute(m: Any, seen: dict[str, Tensor]) -> dict[str, Tensor]:
        keep = 1 - seen["first"].to(seen["view"].dtype)
        h = c = seen["view"].new_zeros(1, seen["view"].shape[1], 6)
        outputs = []
        for x, k in zip(m.eyes(seen["view"]).relu(), keep, strict=True):
            y, (h, c) = m.lstm(x.unsqueeze(0), (h * k.unsqueeze(1), c * k.unsqueeze(1)))
            outputs.append(y[0])
        y = torch.stack(outputs)
        return {"policy": m.act(y).log_softmax(2), "value": m.worth(y).squeeze(2)}

    model = Net(
        compute,
        eyes=nn.Linear(5, 4),
        lstm=nn.LSTM(4, 6),
        act=nn.Linear(6, 3),
        worth=nn.Linear(6, 1),
    )
    first = torch.zeros(7, 4, dtype=torch.bool)
    first[3, 1] = True
    seen = {"view": torch.randn(7, 4, 5), "first": first}
    return Subject(model, (seen,), {"batch_dim": 1, "causal": True})


@right
def normed_weights(nn: ModuleType) -> Subject:
    """A layer whose recurrent weight has a norm that is learned, in train mode, with dropout."""

    def compute(m: Any, x: Tensor) -> Tensor:
        return m.out(m.drop(m.lstm(x)[0][:, -1]))

    lstm = parametrizations.weight_norm(nn.LSTM(3, 5, batch_first=True), "weight_hh_l0")
    model = Net(compute, lstm=lstm, drop=nn.Dropout(0.5), out=nn.Linear(5, 2))
    return Subject(model.train(), (torch.randn(4, 6, 3),))
