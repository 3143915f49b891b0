"""Options that a constructor does not have, by the names of other libraries: what to type."""

from inline_snapshot import snapshot

import rnnkit
from rnnkit import ArgumentError
from tests.checks.refusals import Case, Refused, fix, table

CASES = {
    "Another library's name for the width.": Case(
        "nn.GRU(3, units=4)",
        Refused(ArgumentError, "mumbles", "units"),
        code="option-unknown",
        fix=fix("hidden_size=4", where="nn.GRU(3, @)"),
        has="fix       hidden_size=4",
    ),
    "The width of an embedding.": Case(
        "nn.GRU(embedding_dim=3, hidden_size=4)",
        Refused(ArgumentError, "mumbles", "embedding_dim"),
        code="option-unknown",
        fix=fix("input_size=3", where="nn.GRU(hidden_size=4, @)"),
    ),
    "Another library's option of the output.": Case(
        "nn.LSTM(3, 4, return_sequences=True)",
        Refused(ArgumentError, "mumbles", "return_sequences"),
        code="option-unknown",
        fix=fix(
            "output, state = layer(input)", where="@", layer=rnnkit.LSTM(3, 4), input=(7, 5, 3)
        ),
        message=snapshot("""\
LSTM.__init__() got an unexpected keyword argument 'return_sequences'
  LSTM(3, 4, return_sequences=True)
  fix       leave it out: output, state = layer(input) returns every step
            where layer is this module
  more      option-unknown, in the docs under "Errors"\
"""),
    ),
    "Another library's word for the layout is its opposite.": Case(
        "nn.LSTM(3, 4, time_major=True)",
        Refused(ArgumentError, "mumbles", "time_major"),
        code="option-unknown",
        fix=fix("batch_first=False", where="nn.LSTM(3, 4, @)"),
        has="fix       batch_first=False",
    ),
    "Another library's activation, of a layer that has none.": Case(
        "nn.LSTM(3, 4, activation='tanh')",
        Refused(ArgumentError, "mumbles", "activation"),
        code="option-unknown",
        has="leave activation out: LSTM has fixed ones, RNN and RNNCell take nonlinearity",
    ),
    "Another library's activation, of a layer that has the option.": Case(
        "nn.RNN(3, 4, activation='relu')",
        Refused(ArgumentError, "mumbles", "activation"),
        code="option-unknown",
        fix=fix("nonlinearity='relu'", where="nn.RNN(3, 4, @)"),
        has="fix       nonlinearity='relu'",
    ),
    "A Recurrent in two directions has cells for both.": Case(
        "rnnkit.Recurrent(GRUCell(3, 4), bidirectional=True)",
        Refused(ArgumentError, "lacks", "bidirectional"),
        code="option-unknown",
        fix=fix("reverse_cells=[...]", "GRUCell(3, 4)", where="rnnkit.Recurrent(GRUCell(3, 4), @)"),
        message=snapshot("""\
Recurrent.__init__() got an unexpected keyword argument 'bidirectional'
  Recurrent(a GRUCell, bidirectional=True)
  fix       reverse_cells=[...], the cell of each layer's backward direction
  more      option-unknown, in the docs under "Errors"\
"""),
    ),
    "A cell has one direction.": Case(
        "nn.GRUCell(3, 4, bidirectional=True)",
        Refused(ArgumentError, "says", "bidirectional"),
        code="option-unknown",
        message=snapshot("""\
GRUCell.__init__() got an unexpected keyword argument 'bidirectional'
  GRUCell(3, 4, bidirectional=True)
  fix       leave bidirectional out: a cell is one layer, in one direction, for one step
  more      option-unknown, in the docs under "Errors"\
"""),
    ),
    "A cell is one layer.": Case(
        "nn.RNNCell(3, 4, num_layers=2)",
        Refused(ArgumentError, "says", "num_layers"),
        code="option-unknown",
        message=snapshot("""\
RNNCell.__init__() got an unexpected keyword argument 'num_layers'
  RNNCell(3, 4, num_layers=2)
  fix       leave num_layers out: a cell is one layer, in one direction, for one step
  more      option-unknown, in the docs under "Errors"\
"""),
    ),
    "Another library's name for an option that a cell lacks.": Case(
        "nn.GRUCell(3, 4, dropout_rate=0.5)",
        Refused(ArgumentError, "says", "dropout_rate"),
        code="option-unknown",
        message=snapshot("""\
GRUCell.__init__() got an unexpected keyword argument 'dropout_rate'
  GRUCell(3, 4, dropout_rate=0.5)
  fix       GRUCell(input_size, hidden_size, bias, ...)
  more      option-unknown, in the docs under "Errors"\
"""),
    ),
}


@table(CASES)
def test_refused(case: Case) -> None:
    """The option is named, and the one that the constructor has for it."""
    case.check()
