"""PPO with a recurrent policy, on a task that needs a memory.

An episode shows a cue at its first step only, and asks for it at its last. Episodes end inside a
rollout, in each environment at other steps. The rollout takes single steps, the update makes one
call over all of them, from the same first state and with the same marks of where episodes begin:
both give the same numbers, which is checked before the first change of the weights.

    python -m docs.examples.recurrent_ppo
"""

import torch
from torch import Tensor, nn
from torch.distributions import Categorical

import rnnkit

ENVS = 32
STEPS = 24
HIDDEN = 32


class Recall:
    """Environments that show a cue and ask for it: 1 for the right action, -1 for the other."""

    def __init__(self) -> None:
        """Begin an episode in each."""
        self.began = torch.ones(ENVS, dtype=torch.bool)
        self.cue = torch.randint(2, (ENVS,))

    def observe(self) -> tuple[Tensor, Tensor]:
        """Return what they show, ``(envs, 3)``, and which of them begin an episode, ``(envs,)``."""
        self.asks = ~self.began & (torch.rand(ENVS) < 0.4)
        cue = nn.functional.one_hot(self.cue, 2) * self.began[:, None]
        return torch.cat([cue, self.asks[:, None]], dim=1).float(), self.began

    def act(self, action: Tensor) -> tuple[Tensor, Tensor]:
        """Return the rewards, and which episodes are done: another one begins there."""
        done = self.asks
        reward = torch.where(action == self.cue, 1.0, -1.0) * done
        self.began = done
        self.cue = torch.where(done, torch.randint(2, (ENVS,)), self.cue)
        return reward, done


class Policy(nn.Module):
    """A GRU that remembers, and what is read from it: how to act, and what comes of it."""

    def __init__(self) -> None:
        """Make the weights."""
        super().__init__()
        self.core = rnnkit.GRU(3, HIDDEN)
        self.actor = nn.Linear(HIDDEN, 2)
        self.critic = nn.Linear(HIDDEN, 1)

    def read(self, output: Tensor) -> tuple[Categorical, Tensor]:
        """Return the actions' distribution and the values, of one step or of all."""
        return Categorical(logits=self.actor(output)), self.critic(output).squeeze(-1)


@torch.no_grad()
def rollout(policy: Policy, envs: Recall, state: Tensor) -> tuple[list[Tensor], Tensor]:
    """Act; return what was seen and done at all steps, ``(steps, envs)``, and the last state."""
    kept = []
    for _ in range(STEPS):
        x_t, began = envs.observe()
        y_t, state = policy.core.step(x_t, state, reset=began)
        actions, value = policy.read(y_t)
        action = actions.sample()
        kept.append((x_t, began, action, actions.log_prob(action), value, *envs.act(action)))
    return [torch.stack(each) for each in zip(*kept, strict=True)], state


def returns_of(rewards: Tensor, done: Tensor, last_value: Tensor) -> Tensor:
    """Add up the rewards to the end of each episode; a value stands for what comes later."""
    total = last_value
    totals = []
    for reward, end in zip(rewards.flip(0), done.flip(0), strict=True):
        total = reward + total.where(~end, 0)
        totals.append(total)
    return torch.stack(totals).flip(0)


def update(policy: Policy, optimizer: torch.optim.Adam, first: Tensor, kept: list[Tensor]) -> None:
    """Learn from a rollout that began with the state ``first``."""
    x, starts, acted, acted_log_prob, values, rewards, done = kept
    returns = returns_of(rewards, done, values[-1])
    advantage = returns - values
    for epoch in range(4):
        output, _ = policy.core(x, first, reset=starts)
        actions, value = policy.read(output)
        log_prob = actions.log_prob(acted)
        if epoch == 0:  # the weights are those that acted
            torch.testing.assert_close(log_prob, acted_log_prob, atol=1e-5, rtol=0)
        ratio = (log_prob - acted_log_prob).exp()
        gain = torch.minimum(ratio * advantage, ratio.clamp(0.8, 1.2) * advantage).mean()
        loss = (value - returns).square().mean() / 2 - gain
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()


def main() -> tuple[float, float]:
    """Return the share of wrong actions in the first rollout and in the last."""
    torch.manual_seed(0)
    policy = Policy()
    envs = Recall()
    optimizer = torch.optim.Adam(policy.parameters(), lr=0.005)
    state = policy.core.initial_state(ENVS)
    wrong = []
    for _ in range(40):
        first = state
        kept, state = rollout(policy, envs, first)
        update(policy, optimizer, first, kept)
        rewards, done = kept[-2:]
        wrong.append((rewards[done] < 0).float().mean().item())
    return wrong[0], wrong[-1]


if __name__ == "__main__":
    print("wrong actions: {:.0%}, then {:.0%}".format(*main()))  # noqa: T201 - what it is for
