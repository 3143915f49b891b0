"""``trace``: which state went where, and what looks like a mistake."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from inline_snapshot import snapshot
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_padded_sequence

import rnnkit
from tests.diagnostics.models_of_users import BATCH, FEATURE, HIDDEN, SEQ, Model, numbers
from tests.diagnostics.small import lstm

X = numbers(BATCH, SEQ, FEATURE)
SHORT = X[:, :3]


def pair(bridge: Callable[[Any], Any], **options: Any) -> Model:
    """Make an encoder and a decoder, and what is between their states."""

    def compute(m: Any, x: Tensor) -> Tensor:
        return m.decoder(x, bridge(m.encoder(x)[1]))[0]

    return Model(compute, encoder=lstm(**options), decoder=lstm())


def test_layer() -> None:
    """A layer is one row; its state is part of what the model returns."""
    model = Model(lambda m, x: m.lstm(x), lstm=lstm())

    assert str(rnnkit.trace(model, X)) == snapshot("""\
row  module       input as read            state given  state returned
0    lstm (LSTM)  batch=4 seq=7 feature=3  zeros        used\
""")


def test_encoder_and_decoder() -> None:
    """The decoder starts from the encoder's state, which is a right program."""
    found = rnnkit.trace(pair(lambda state: state), X)

    assert (
        repr(found)
        == str(found)
        == snapshot("""\
row  module          input as read            state given  state returned
0    encoder (LSTM)  batch=4 seq=7 feature=3  zeros        used
1    decoder (LSTM)  batch=4 seq=7 feature=3  row 0        not used\
""")
    )
    assert found.marked == []


def test_data() -> None:
    """What the table says is there as data, too."""
    first, second = rnnkit.trace(pair(lambda state: state), X).rows

    assert (first.number, first.module, first.kind) == (0, "encoder", "LSTM")
    assert (first.spec, first.state, first.used) == (
        f"batch={BATCH} seq={SEQ} feature={FEATURE}",
        "zeros",
        True,
    )
    assert (second.state, second.used, second.marks) == ("row 0", False, [])


def test_loop() -> None:
    """A loop over a cell passes each state on."""

    def compute(m: Any, x: Tensor) -> Tensor:
        state = None
        for x_t in x.unbind(1):
            state = m.cell(x_t, state)
        return state[0]

    found = rnnkit.trace(Model(compute, cell=nn.LSTMCell(FEATURE, HIDDEN)), SHORT)

    assert str(found) == snapshot("""\
row  module           input as read      state given  state returned
0    cell (LSTMCell)  batch=4 feature=3  zeros        used
1    cell (LSTMCell)  batch=4 feature=3  row 0        used
2    cell (LSTMCell)  batch=4 feature=3  row 1        used\
""")


def test_state_never_advanced() -> None:
    """A loop that passes on the first state is marked at each step but the first."""

    def compute(m: Any, x: Tensor) -> Tensor:
        first = x.new_zeros(len(x), HIDDEN)
        return torch.stack([m.cell(x_t, first) for x_t in x.unbind(1)])

    found = rnnkit.trace(Model(compute, cell=nn.GRUCell(FEATURE, HIDDEN)), SHORT)

    assert str(found) == snapshot("""\
row  module          input as read      state given     state returned
0    cell (GRUCell)  batch=4 feature=3  from elsewhere  used
1    cell (GRUCell)  batch=4 feature=3  from elsewhere  used
     ^ the same state as in row 0: it is never advanced
2    cell (GRUCell)  batch=4 feature=3  from elsewhere  used
     ^ the same state as in row 1: it is never advanced\
""")


def test_state_dropped() -> None:
    """A loop that drops each state, and starts from zeros, is marked."""

    def compute(m: Any, x: Tensor) -> Tensor:
        return torch.cat([m.lstm(x_t)[0] for x_t in x.split(1, 1)], 1)

    assert str(rnnkit.trace(Model(compute, lstm=lstm()), SHORT)) == snapshot("""\
row  module       input as read            state given  state returned
0    lstm (LSTM)  batch=4 seq=1 feature=3  zeros        not used
1    lstm (LSTM)  batch=4 seq=1 feature=3  zeros        not used
     ^ starts from zeros, and the state of row 0 is unused
2    lstm (LSTM)  batch=4 seq=1 feature=3  zeros        not used
     ^ starts from zeros, and the state of row 1 is unused\
""")


def test_state_of_an_earlier_graph() -> None:
    """A state that is kept with its graph is marked; one that is detached is not."""
    model = Model(lambda m, x: m.lstm(x, m.state)[0], lstm=lstm())
    model.state = model.lstm(X)[1]

    assert str(rnnkit.trace(model, X)) == snapshot("""\
row  module       input as read            state given     state returned
0    lstm (LSTM)  batch=4 seq=7 feature=3  from elsewhere  not used
     ^ its h belongs to the graph of an earlier run: detach it
     ^ its c belongs to the graph of an earlier run: detach it\
""")
    model.state = rnnkit.states.detach(model.state)
    assert rnnkit.trace(model, X).marked == []


def test_old_state_as_an_input() -> None:
    """A state of an earlier graph is marked where it is an input, as well."""
    layer = lstm()
    found = rnnkit.trace(lambda x, state: layer(x, state)[0], X, layer(X)[1])

    assert len(found.marked) == 1


def test_members_swapped() -> None:
    """An h in the place of c, and a c in the place of h, are marked."""
    assert str(rnnkit.trace(pair(lambda state: state[::-1]), X)) == snapshot("""\
row  module          input as read            state given             state returned
0    encoder (LSTM)  batch=4 seq=7 feature=3  zeros                   used
1    decoder (LSTM)  batch=4 seq=7 feature=3  c of row 0, h of row 0  not used
     ^ its h is c of row 0
     ^ its c is h of row 0\
""")


def test_hidden_state_for_both() -> None:
    """An h given for both is marked once."""
    (row,) = rnnkit.trace(pair(lambda state: (state[0], state[0])), X).marked

    assert row.marks == snapshot(["its c is h of row 0"])


def test_slice_of_another_direction() -> None:
    """A decoder that takes the backward direction of its encoder is marked."""
    model = pair(lambda state: tuple(part[1:2] for part in state), bidirectional=True)

    assert str(rnnkit.trace(model, X)) == snapshot("""\
row  module          input as read            state given                                   state returned
0    encoder (LSTM)  batch=4 seq=7 feature=3  zeros                                         used
1    decoder (LSTM)  batch=4 seq=7 feature=3  a slice of h of row 0, a slice of c of row 0  not used
     ^ its h begins with the backward direction of layer 0 of row 0
     ^ its c begins with the backward direction of layer 0 of row 0\
""")


def test_slice_of_another_layer() -> None:
    """A decoder that takes the first layer of two is marked, and not if it takes the last."""
    options = {"num_layers": 2, "bidirectional": True}
    first = pair(lambda state: tuple(part[:1] for part in state), **options)
    last = pair(lambda state: tuple(part[2:3] for part in state), **options)

    (row,) = rnnkit.trace(first, X).marked
    assert row.marks == snapshot(
        [
            "its h begins with the forward direction of layer 0 of row 0",
            "its c begins with the forward direction of layer 0 of row 0",
        ]
    )
    assert rnnkit.trace(last, X).marked == []


def test_output_read_from_its_end_state() -> None:
    """A layer that reads another's output, and starts from its end, is marked."""

    def compute(m: Any, x: Tensor) -> Tensor:
        output, state = m.first(x)
        return m.second(output, state)[0]

    model = Model(compute, first=lstm(), second=lstm(HIDDEN))

    assert str(rnnkit.trace(model, X)) == snapshot("""\
row  module         input as read            state given  state returned
0    first (LSTM)   batch=4 seq=7 feature=3  zeros        used
1    second (LSTM)  batch=4 seq=7 feature=6  row 0        not used
     ^ reads the output of row 0 from its end state: step 0 has seen it all\
""")


def packed(m: Any, x: Tensor) -> Tensor:
    """Pack."""
    lengths = [7, 5, 3, 2]
    return m.lstm(pack_padded_sequence(x, lengths, batch_first=True))[1][0][-1]


def test_packed_and_unbatched_input() -> None:
    """The input is told as it is read: packed, or without a batch."""
    (row,) = rnnkit.trace(Model(packed, lstm=lstm()), X).rows
    assert row.spec == f"packed seq={SEQ} batch={BATCH} feature={FEATURE}"

    (row,) = rnnkit.trace(Model(lambda m, x: m.lstm(x), lstm=lstm()), X[0]).rows
    assert row.spec == f"seq={SEQ} feature={FEATURE}"


def test_functions() -> None:
    """A function that calls modules is traced; its modules are named by class."""
    first, second = lstm(), nn.GRUCell(HIDDEN, HIDDEN)
    found = rnnkit.trace(lambda x: second(first(x)[0][:, -1]), X)

    assert str(found) == snapshot("""\
row  module               input as read            state given  state returned
0    LSTM-0 (LSTM)        batch=4 seq=7 feature=3  zeros        not used
1    GRUCell-1 (GRUCell)  batch=4 feature=6        zeros        used\
""")


def test_without_gradients() -> None:
    """Where the model runs without gradients, the use of a state cannot be told."""
    model = Model(torch.no_grad()(lambda m, x: m.lstm(x)[0]), lstm=lstm())

    assert [row.used for row in rnnkit.trace(model, X).rows] == [None]


def test_nothing_stays_behind() -> None:
    """After a trace, of a module or of a function, no hook is left, and no gradient."""
    layer = lstm()
    rnnkit.trace(layer, X)
    rnnkit.trace(lambda x: layer(x)[0], X)

    def fails(x: Tensor) -> Tensor:
        layer(x)
        message = "no"
        raise KeyError(message)

    with pytest.raises(KeyError):
        rnnkit.trace(fails, X)

    assert not layer._forward_hooks
    assert not layer._forward_pre_hooks
    assert not nn.modules.module._global_forward_hooks
    assert not nn.modules.module._global_forward_pre_hooks
    assert all(weight.grad is None for weight in layer.parameters())


def test_compiled() -> None:
    """A compiled model is traced as the one that was compiled, with its names."""
    model = torch.compile(pair(lambda state: state), backend="eager")

    assert [row.module for row in rnnkit.trace(model, X).rows] == ["encoder", "decoder"]
