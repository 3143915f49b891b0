"""States of the wrong sizes, dtype or device."""

# fmt: off
SIZES = {
    "state-rank": ("The state lacks an axis or has one too many: a layer carries (layers * directions, batch, hidden), a cell (batch, hidden), and one sequence no batch.",
        "layer = nn.GRU(3, 4); input, hx = torch.ones(7, 5, 3), torch.ones(5, 4); layer(input, hx)",
        "layer = nn.RNN(3, 4, 2); input, hx = torch.ones(7, 5, 3), torch.ones(5, 4); layer(input, hx)",
        "layer = nn.LSTM(3, 4); input = torch.ones(7, 5, 3); hx = h, c = torch.ones(1, 5, 4), torch.ones(5, 4); layer(input, hx)",
        "layer = nn.GRU(3, 4); input, hx = torch.ones(7, 5, 3), torch.ones(4); layer(input, hx)",
        "layer = nn.GRU(3, 4, 2, bidirectional=True); input, hx = torch.ones(7, 5, 3), torch.ones(2, 2, 5, 4); layer(input, hx)",
        "cell = nn.GRUCell(3, 4); input, hx = torch.ones(5, 3), torch.ones(2, 5, 4); cell(input, hx)",
        "cell = nn.RNNCell(3, 4); input, hx = torch.ones(5, 3), torch.ones(4); cell(input, hx)",
        "unsafe: cell = nn.LSTMCell(3, 4); input = torch.ones(3); hx = h, c = torch.ones(4, 4), torch.ones(4, 4); cell(input, hx)",
        "cell = nn.LSTMCell(3, 4); input = torch.ones(5, 3); hx = h, c = torch.ones(5, 4), torch.ones(4); cell(input, hx)",
        "cell = nn.LSTMCell(3, 8); input = torch.ones(5, 3); hx = h, c = torch.ones(2, 5, 4), torch.ones(2, 5, 4); cell(input, hx)",
        "layer = nn.GRU(3, 4); x_t, state = torch.ones(3), torch.ones(1, 1, 4); layer.step(x_t, state)",
        "layer = nn.GRU(3, 4, 2); input, hx = torch.ones(7, 3), torch.ones(2, 2, 4); layer(input, hx)",
        "unsafe: layer = nn.LSTM(3, 4); input = nn.utils.rnn.pack_sequence([torch.ones(3, 3), torch.ones(2, 3)]); hx = h, c = torch.ones(1, 1, 2, 4), torch.ones(1, 1, 2, 4); layer(input, hx)"),
    "state-transposed": ("A state has the layers on axis 0 whatever batch_first says, and here the batch is there.",
        "layer = nn.GRU(3, 4, 2); input, hx = torch.ones(7, 5, 3), torch.ones(5, 2, 4); layer(input, hx)",
        "layer = rnnkit.GRU(3, 4, 2, state_batch_first=True); input, hx = torch.ones(7, 5, 3), torch.ones(2, 5, 4); layer(input, hx)",
        "layer = nn.LSTM(3, 4, 2); input = torch.ones(7, 5, 3); hx = h, c = torch.ones(5, 2, 4), torch.ones(2, 5, 4); layer(input, hx)"),
    "state-is-output": ("A layer returns (output, state), and the first of the two was passed on.",
        "layer, decoder = nn.GRU(3, 4), nn.GRU(3, 4); input = torch.ones(7, 5, 3); hx, _ = layer(input); decoder(input, hx) => layer, decoder = nn.GRU(3, 4), nn.GRU(3, 4); input = torch.ones(7, 5, 3); _, hx = layer(input); decoder(input, hx)"),
    "state-directions": ("A bidirectional layer carries a state for each direction of each layer, and this one has rows for the forward directions only.",
        "layer = nn.GRU(3, 4, 2, bidirectional=True); input, hx = torch.ones(7, 5, 3), torch.ones(2, 5, 4); layer(input, hx)",
        "unsafe: layer = nn.LSTM(3, 4, bidirectional=True); input = nn.utils.rnn.pack_padded_sequence(torch.ones(7, 5, 3), [7, 6, 6, 2, 1], enforce_sorted=False); hx = h, c = torch.ones(2, 5, 4), torch.ones(1, 5, 4); layer(input, hx)"),
    "state-bidirectional": ("The state comes from a bidirectional layer, often an encoder, and this layer has one direction.",
        "layer = nn.GRU(3, 8); input, hx = torch.ones(7, 5, 3), torch.ones(2, 5, 4); layer(input, hx)",
        "layer = nn.LSTM(3, 4, 2); input = torch.ones(7, 5, 3); hx = h, c = torch.ones(4, 5, 4), torch.ones(4, 5, 4); layer(input, hx)",
        "layer = rnnkit.GRU(3, 4, state_batch_first=True); input, hx = torch.ones(7, 5, 3), torch.ones(5, 2, 4); layer(input, hx)",
        "layer = nn.GRU(3, 4); input, hx = torch.ones(2, 5, 3), torch.ones(2, 5, 4); layer(input, hx)",
        "layer = nn.LSTM(3, 8); input = torch.ones(7, 5, 3); hx = h, c = torch.ones(1, 5, 8), torch.ones(2, 5, 4); layer(input, hx)",
        "layer = nn.LSTM(3, 4); input = torch.ones(7, 5, 3); hx = h, c = torch.ones(2, 5, 4), torch.ones(1, 5, 4); layer(input, hx)"),
    "state-layers": ("The state was made by, or for, a layer of another num_layers.",
        "layer = nn.GRU(3, 4, 2); input, hx = torch.ones(7, 5, 3), torch.ones(3, 5, 4); layer(input, hx)",
        "layer = nn.LSTM(3, 4, 2); input = torch.ones(7, 5, 3); hx = h, c = torch.ones(2, 5, 4), torch.ones(1, 5, 4); layer(input, hx)"),
    "state-sizes": ("The state fits on no axis, or on too few to say what it was made for.",
        "layer = nn.GRU(3, 4, 2); input, hx = torch.ones(7, 5, 3), torch.ones(3, 8, 6); layer(input, hx)",
        "cell = nn.GRUCell(3, 4); input, hx = torch.ones(5, 3), torch.ones(1, 6); cell(input, hx)"),
    "state-one-sample": ("The state was made for a batch of one, such as a learned first state, and the input has more samples.",
        "layer = nn.RNN(3, 4, 2); input, hx = torch.ones(7, 5, 3), torch.ones(2, 1, 4); layer(input, hx)",
        "cell = nn.LSTMCell(3, 4); input = torch.ones(5, 3); hx = h, c = torch.ones(5, 4), torch.ones(1, 4); cell(input, hx)",
        "cell = rnnkit.GRUCell(3, 4); input, hx = torch.ones(7, 5, 3), torch.ones(1, 4); rnnkit.unroll(cell, input, hx, fused=False)"),
    "beams-forgotten": ("Each sample has become several, as beams or as draws, and its state has not.",
        "layer = nn.GRU(3, 4); input, hx = torch.ones(7, 12, 3), torch.ones(1, 3, 4); layer(input, hx)",
        "cell = nn.LSTMCell(3, 4); input = torch.ones(6, 3); hx = h, c = torch.ones(2, 4), torch.ones(2, 4); cell(input, hx)",
        "layer = rnnkit.GRU(3, 4, state_batch_first=True); input, hx = torch.ones(7, 6, 3), torch.ones(2, 1, 4); layer(input, hx)"),
    "state-batch": ("The state was kept from a call with another batch: the last batch of an epoch is smaller, or some sequences have ended.",
        "layer = nn.GRU(3, 4); input, hx = torch.ones(7, 5, 3), torch.ones(1, 8, 4); layer(input, hx)",
        "layer = nn.LSTM(3, 4); input = torch.ones(7, 5, 3); hx = h, c = torch.ones(1, 2, 4), torch.ones(1, 2, 4); layer(input, hx)",
        "layer = nn.LSTM(3, 4); input = torch.ones(7, 5, 3); hx = h, c = torch.ones(1, 5, 4), torch.ones(1, 8, 4); layer(input, hx)",
        "layer = rnnkit.GRU(3, 4, state_batch_first=True); input, hx = torch.ones(7, 5, 3), torch.ones(8, 1, 4); layer(input, hx)",
        "cell = nn.LSTMCell(3, 4); input = torch.ones(5, 3); hx = h, c = torch.ones(3, 4), torch.ones(5, 4); cell(input, hx)",
        """\
class Learned(rnnkit.GRU):
    def initial_state(self, batch_size):
        return torch.ones(1, 8, 4)

layer, reset = Learned(3, 4), torch.ones(7, 5, dtype=torch.bool); layer(torch.ones(7, 5, 3), torch.ones(1, 5, 4), reset=reset)""",
        "layer = nn.RNN(3, 4); input, hx = nn.utils.rnn.pack_sequence([torch.ones(3, 3), torch.ones(2, 3)]), torch.ones(1, 8, 4); layer(input, hx)",
        "layer = rnnkit.Recurrent([rnnkit.GRUCell(3, 4), rnnkit.LSTMCell(4, 6)]); x_t, state = torch.ones(5, 3), (torch.ones(5, 4), (torch.ones(2, 6), torch.ones(5, 6))); layer.step(x_t, state)",
        "layer = rnnkit.Recurrent([rnnkit.GRUCell(3, 4), rnnkit.GRUCell(4, 4)]); x_t, state = torch.ones(5, 3), (torch.ones(5, 4), torch.ones(2, 4)); layer.step(x_t, state)"),
    "state-cell-batch": ("A cell's state has the batch on axis 0, and this one is for another batch, or a layer's.",
        "cell = lambda input, hx: input if hx is None else hx + input; input, hx = torch.ones(7, 5, 3), torch.ones(3, 3); rnnkit.unroll(cell, input, hx)",
        "cell = lambda input, hx: hx + input; input, hx = torch.ones(7, 5, 3), torch.ones(1, 5, 3); rnnkit.unroll(cell, input, hx)",
        "cell = lambda input, hx: tuple(part + input for part in hx or (0, 0)); input, hx = torch.ones(7, 5, 3), (torch.ones(5, 3), torch.ones(2, 3)); rnnkit.unroll(cell, input, hx)",
        """\
class Cell(nn.Module):
    def forward(self, input, hx):
        return hx + input

    def initial_state(self, batch_size):
        return torch.zeros(batch_size, 3)

layer = rnnkit.Recurrent([Cell()]); input, hx = torch.ones(7, 5, 3), (torch.ones(8, 3),); layer(input, hx)"""),
    "state-width": ("The hidden_size of this module is not that of the module that the state comes from; or two directions were joined side by side; or h is projected and c is not.",
        "layer = nn.GRU(3, 4); input, hx = torch.ones(7, 5, 3), torch.ones(1, 5, 6); layer(input, hx)",
        "layer = nn.LSTM(3, 4); input = torch.ones(7, 5, 3); hx = h, c = torch.ones(1, 5, 4), torch.ones(1, 5, 6); layer(input, hx)",
        "layer = nn.GRU(3, 4, 2); input, hx = torch.ones(7, 3), torch.ones(2, 6); layer(input, hx)",
        "layer = nn.LSTM(3, 4, proj_size=2); input = torch.ones(7, 5, 3); hx = h, c = torch.ones(1, 5, 3), torch.ones(1, 5, 4); layer(input, hx)",
        "cell = nn.RNNCell(3, 4); input, hx = torch.ones(5, 3), torch.ones(5, 6); cell(input, hx)",
        "layer = nn.RNN(3, 4); input, hx = torch.ones(7, 5, 3), torch.ones(1, 5, 8); layer(input, hx)",
        "cell = nn.LSTMCell(3, 4); input = torch.ones(5, 3); hx = h, c = torch.ones(5, 4), torch.ones(5, 8); cell(input, hx)",
        "layer = nn.LSTM(3, 5, proj_size=3); input = torch.ones(7, 5, 3); hx = h, c = torch.ones(1, 5, 6), torch.ones(1, 5, 6); layer(input, hx)",
        "cell = rnnkit.ProjectedLSTMCell(3, 4, 2); input = torch.ones(5, 3); hx = h, c = torch.ones(5, 4), torch.ones(5, 4); cell(input, hx)"),
    "state-dtype": ("The state was made in another floating-point type than the input has.",
        "layer = nn.GRU(3, 4); input, hx = torch.ones(7, 5, 3), torch.ones(1, 5, 4, dtype=torch.float64); layer(input, hx)",
        "layer = rnnkit.GRU(3, 4); x_t, state = torch.ones(5, 3), torch.ones(1, 5, 4, dtype=torch.float64); layer.step(x_t, state)"),
    "state-device": ("The state was made on, or kept from, another device than the input is on.",
        'layer = nn.GRU(3, 4, device="meta"); input, hx = torch.ones(7, 5, 3, device="meta"), torch.ones(1, 5, 4); layer(input, hx)',
        'unsafe: layer = nn.GRU(3, 4, device="meta"); input, hx = nn.utils.rnn.pack_sequence([torch.ones(3, 3), torch.ones(2, 3)]), torch.ones(1, 2, 4); input = input._replace(data=input.data.to("meta")); layer(input, hx)',
        'cell = nn.LSTMCell(3, 4, device="meta"); input = torch.ones(5, 3, device="meta"); hx = h, c = torch.ones(5, 4, device="meta"), torch.ones(5, 4); cell(input, hx)'),
}
