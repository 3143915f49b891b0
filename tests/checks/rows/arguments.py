"""Arguments of calls and constructors that are wrong."""

# fmt: off
CALLS = {
    "arguments-of-a-call": ("The call has an argument by a name that other classes use, or at a position that torch does not have.",
        "layer = nn.LSTM(3, 4); input, h, c = torch.ones(7, 5, 3), torch.ones(1, 5, 4), torch.ones(1, 5, 4); layer(input, h, c)",
        "layer = nn.GRU(3, 4); input, lengths = torch.ones(7, 2, 3), [7, 5]; hx = None; layer(input, hx, lengths)",
        "layer = nn.GRU(3, 4); input, hx = torch.ones(7, 5, 3), torch.ones(1, 5, 4); layer(input, hx, hx)",
        "layer = nn.GRU(3, 4); input, h0 = torch.ones(7, 5, 3), torch.ones(1, 5, 4); layer(input, h0=h0)",
        "layer = nn.GRU(3, 4); inputs = torch.ones(7, 5, 3); layer(inputs=inputs)",
        "layer = nn.LSTM(3, 4); input = torch.ones(7, 5, 3); h, c0 = torch.ones(1, 5, 4), torch.ones(1, 5, 4); layer(input, h, c0=c0)",
        "layer = nn.GRU(3, 4); input, lenghts = torch.ones(7, 5, 3), [7] * 5; layer(input, lenghts=lenghts)",
        "layer = nn.LSTM(3, 4); input, mask = torch.ones(7, 5, 3), torch.ones(7, 5, dtype=torch.bool); hx = None; layer(input, hx, mask)",
        "layer = nn.GRU(3, 4); input, hx, mask = torch.ones(7, 5, 3), torch.ones(1, 5, 4), torch.ones(5, dtype=torch.bool); layer(input, hx, mask)",
        "layer = nn.GRU(3, 4); input, starts = torch.ones(7, 5, 3), torch.ones(7, 5, dtype=torch.bool); layer(input, starts=starts)",
        "layer = nn.GRU(3, 4); input, hx = torch.ones(7, 5, 3), torch.ones(1, 5, 4); layer(input, start_state=hx)",
        "layer = rnnkit.Recurrent(rnnkit.GRUCell(3, 4)); input, hx = torch.ones(7, 5, 3), (torch.ones(5, 4),); layer(input, hx, hx)",
        "layer = rnnkit.Recurrent(rnnkit.GRUCell(3, 4)); input, mask = torch.ones(7, 5, 3), torch.ones(7, 5); layer(input, mask=mask)",
        "layer = rnnkit.Recurrent(rnnkit.GRUCell(3, 4)); input = torch.ones(7, 5, 3); layer(input, qqq=1)",
        "cell = nn.GRUCell(3, 4); input, mask = torch.ones(5, 3), torch.ones(5); cell(input, mask=mask)",
        "cell = nn.GRUCell(3, 4); input, hx, dones = torch.ones(5, 3), torch.ones(5, 4), torch.ones(5, dtype=torch.bool); cell(input, hx, dones=dones)",
        "layer = rnnkit.GRU(3, 4); input = torch.ones(5, 3); layer.step(input=input)",
        "rnnkit.states.select(torch.ones(4, 3, 6), [0], batchfirst=False)",
        "rnnkit.states.to_layers(torch.ones(4, 3, 6), qqq=1)",
        "rnnkit.states.select(torch.ones(3, 4, 6), [0], batch_first=True)",
        "cell, input, h = rnnkit.GRUCell(3, 4), torch.ones(7, 5, 3), torch.ones(5, 4); rnnkit.unroll(cell, input, state=h)",
        "cell, input = rnnkit.GRUCell(3, 4), torch.ones(7, 5, 3); rnnkit.unroll(cell, input, return_sequences=True)",
        "cell, input = rnnkit.GRUCell(3, 4), torch.ones(7, 5, 3); rnnkit.unroll(cell, inputs=input)",
        "cell, input = rnnkit.GRUCell(3, 4), torch.ones(7, 5, 3); rnnkit.unroll(cell, input, go_backwards=True)",
        "cell, input, mask = rnnkit.GRUCell(3, 4), torch.ones(5, 7, 3), torch.ones(5, 7); rnnkit.unroll(cell, input, mask=mask, batch_first=True)"),
    "batch-size": ("initial_state takes a number of samples, or None for a state without a batch axis.",
        "layer = rnnkit.GRU(3, 4); layer.initial_state(-1) => layer = rnnkit.GRU(3, 4); layer.initial_state(5)"),
    "step-rank": ("A whole sequence went into step, which takes one step without a seq axis.",
        """\
layer = rnnkit.GRU(3, 4); input, state = torch.ones(7, 5, 3), None; layer.step(input, state) => layer = rnnkit.GRU(3, 4); input, state = torch.ones(7, 5, 3), None
for x_t in input.unbind(0):
    y_t, state = layer.step(x_t, state)""",
        "layer = rnnkit.Recurrent(rnnkit.GRUCell(3, 4)); layer.step(torch.ones(7, 5, 3))"),
    "step-bidirectional": ("The backward direction begins at the last step, so a bidirectional layer cannot go step by step.",
        "layer = rnnkit.LSTM(3, 4, bidirectional=True); x_t = torch.ones(5, 3); layer.step(x_t)",
        "cells = rnnkit.GRUCell(3, 4); layer = rnnkit.Recurrent(cells, reverse_cells=rnnkit.GRUCell(3, 4)); layer.step(torch.ones(5, 3))"),
    "no-cause": ("Two checks of one call disagree: a size was not the same when it was read again, as here, or one of the checks is wrong. The second is a mistake of rnnkit's, so please report it.",
        """\
class Cell(rnnkit.GRUCell):
    reads = 0

    def get_size(self):
        self.reads += 1
        return 4 if self.reads == 1 else 3

    input_size = property(get_size, lambda self, size: None)

cell, input, hx = Cell(3, 4), torch.ones(5, 3), torch.ones(5, 4); cell(input, hx)
=>
cell, input, hx = rnnkit.GRUCell(3, 4), torch.ones(5, 3), torch.ones(5, 4); cell(input, hx)"""),
}

CONSTRUCTORS = {
    "option-unknown": ("The constructor has no argument of this name: it is misspelt, or belongs to another library or class.",
        "nn.LSTM(3, 4, batchfirst=True)",
        "nn.LSTM(3, 4, return_sequences=True)",
        "nn.GRU(3, units=4)",
        'nn.RNN(3, 4, activation="relu")',
        'nn.LSTM(3, 4, activation="tanh")',
        "nn.LSTM() => nn.LSTM(3, 4)",
        "nn.GRU(3, 4, hidden_size=4)",
        "nn.LSTMCell(3, 4, batch_first=True)",
        'nn.LSTM(3, 4, nonlinearity="relu")',
        "nn.GRU(3, 4, proj_size=2)",
        "nn.RNNCell(3, 4, num_layers=2)",
        "nn.LSTM(3, 4, time_major=True)",
        "cell, back = rnnkit.GRUCell(3, 4), rnnkit.GRUCell(3, 4); rnnkit.Recurrent(cell, bidirectional=True) => cell, back = rnnkit.GRUCell(3, 4), rnnkit.GRUCell(3, 4); rnnkit.Recurrent(cell, reverse_cells=[back])",
        "rnnkit.ProjectedLSTMCell(3, 4) => rnnkit.ProjectedLSTMCell(3, 4, 2)",
        "rnnkit.Recurrent()",
        "a, b = rnnkit.GRUCell(3, 4), rnnkit.GRUCell(4, 4); rnnkit.Recurrent(a, b)"),
    "option-value": ("An option has the wrong type, or is out of its range; torch notices at the first call, or never.",
        'nn.LSTM(3, 4, bidirectional="no")',
        "nn.LSTM(3.0, 4)",
        "nn.LSTM(0, 4)",
        "nn.RNN(3, None)",
        "nn.LSTM(3, 4, True)",
        "nn.RNN(torch.ones(3), 4)",
        "nn.LSTM(3, 4, proj_size=-1)",
        "nn.LSTM(3, 4, proj_size=4)",
        "input = torch.ones(2, 3); rnnkit.ProjectedLSTMCell(3, 4, 0)(input) => input = torch.ones(2, 3); rnnkit.LSTMCell(3, 4)(input)",
        "rnnkit.ProjectedLSTMCell(3, 4, -1)",
        "rnnkit.ProjectedLSTMCell(3, 4, 2.0)",
        "rnnkit.ProjectedLSTMCell(3, 4, True)",
        "rnnkit.ProjectedLSTMCell(3, 4, 4) => rnnkit.ProjectedLSTMCell(3, 4, 3)",
        "rnnkit.ProjectedLSTMCell(3, 0, 2) => rnnkit.ProjectedLSTMCell(3, 4, 2)",
        "nn.RNNCell(-3, 4)",
        "nn.LSTM(3, 4, bidirectional=1)",
        "nn.GRU(3, 4, 2, 0.5)",
        "nn.LSTM(3, 4, bias=None)",
        "nn.LSTM(3, 4, 2, dropout=1.5)",
        'nn.RNN(3, 4, 2, dropout="0.5")',
        'nn.RNN(3, 4, nonlinearity="gelu")',
        "nn.GRU(True, 4)",
        'nn.GRU(3, 4, 2, True, False, "1")',
        "rnnkit.Recurrent(rnnkit.GRUCell(3, 4), dropout=2.0)",
        'cell, input = rnnkit.GRUCell(3, 4), torch.ones(7, 5, 3); rnnkit.unroll(cell, input, batch_first="x")',
        'cell, input = rnnkit.GRUCell(3, 4), torch.ones(7, 5, 3); rnnkit.unroll(cell, input, fused="no")',
        "cell, input = rnnkit.GRUCell(3, 4), torch.ones(7, 5, 3); rnnkit.unroll(cell, input, return_states=2)",
        "cell, input = rnnkit.GRUCell(3, 4), torch.ones(7, 5, 3); rnnkit.unroll(cell, input, reverse=None)",
        'rnnkit.states.select(torch.ones(3, 4, 6), [0], state_batch_first="no")',
        'unsafe: layer, input = nn.RNN(3, 4), torch.ones(7, 5, 3); layer.mode = "GRU"; layer(input)'),
    "axes-names": ("axes maps the module's own names (seq, batch, feature, hidden) to the names in your annotations.",
        'nn.GRU(3, 4, axes={"time": "seq"})',
        'rnnkit.LSTMCell(3, 4, axes={"seq": "time"})',
        'rnnkit.Recurrent(rnnkit.GRUCell(3, 4), axes={"feature": "f"})'),
    "recurrent-cells": ("Recurrent is made of cells, modules that take one step; sizes and weights are the cells' own.",
        "rnnkit.Recurrent(3, 4) => rnnkit.Recurrent(rnnkit.GRUCell(3, 4))"),
    "recurrent-layer": ("A layer already runs over a sequence, and Recurrent needs something that takes one step.",
        "layer = rnnkit.LSTM(3, 4); rnnkit.Recurrent(layer) => layer = rnnkit.LSTM(3, 4); rnnkit.Recurrent(layer.cells())"),
    "recurrent-directions": ("Each layer has a cell for each direction.",
        "two = [rnnkit.GRUCell(3, 4), rnnkit.GRUCell(8, 4)]; rnnkit.Recurrent(two, reverse_cells=rnnkit.GRUCell(3, 4)) => two = [rnnkit.GRUCell(3, 4), rnnkit.GRUCell(8, 4)]; back = [rnnkit.GRUCell(3, 4), rnnkit.GRUCell(8, 4)]; rnnkit.Recurrent(two, reverse_cells=back)"),
}
