"""Wrong cells, and wrong calls of the functions on states."""

# fmt: off
CELLS = {
    "unroll-cell": ("unroll runs a cell, which takes one step. Layers run over sequences themselves, and Recurrent takes several cells.",
        "layer, input = rnnkit.GRU(3, 4), torch.ones(7, 5, 3); rnnkit.unroll(layer, input)",
        "input, cells = torch.ones(7, 5, 3), [rnnkit.GRUCell(3, 4), rnnkit.GRUCell(4, 4)]; rnnkit.unroll(cells, input)",
        "input, cell = torch.ones(7, 5, 3), rnnkit.GRUCell(3, 4); rnnkit.unroll(input, cell)",
        "cell, input = torch.nn.Linear(3, 4), torch.ones(7, 5, 3); rnnkit.unroll(cell, input)",
        "layer = rnnkit.Recurrent(torch.nn.Sequential(torch.nn.Linear(3, 4))); layer(torch.ones(7, 5, 3))",
        "rnnkit.unroll(torch.nn.Module(), torch.ones(7, 5, 3))",
        "cell = torch.nn.Linear(3, 4); rnnkit.unroll(cell, torch.ones(7, 5, 3), lengths=[7, 0, 1, 2, 3])",
        "rnnkit.unroll(lambda input: input, torch.ones(7, 5, 3), torch.ones(5, 3))",
        "rnnkit.unroll(torch.relu, torch.ones(7, 5, 3), torch.ones(5, 3))",
        "input = torch.ones(7, 5, 3); rnnkit.unroll(rnnkit.GRUCell, input) => input = torch.ones(7, 5, 3); rnnkit.unroll(rnnkit.GRUCell(3, 4), input)"),
    "cell-initial-state": ("torch's cells and your own have no initial_state unless you write it, and lengths, resets and Recurrent need one.",
        "cell = torch.nn.GRUCell(3, 4); rnnkit.Recurrent(cell).initial_state(5) => cell = rnnkit.GRUCell(3, 4); rnnkit.Recurrent(cell).initial_state(5)",
        "cell = torch.nn.GRUCell(3, 4); rnnkit.unroll(cell, torch.ones(7, 5, 3), lengths=[7, 0, 1, 2, 3])",
        "rnnkit.unroll(lambda input, hx: input, torch.ones(7, 5, 3), lengths=[7, 0, 1, 2, 3])",
        "rnnkit.unroll(lambda input, hx: hx + input, torch.ones(7, 5, 3), torch.ones(5, 3), reset=torch.ones(7, 5, dtype=torch.bool))"),
    "cell-result": ("A cell takes a state and returns the next one, of the same kind; its first tensor is the output.",
        "cell = lambda input, hx: (hx, hx + input); rnnkit.unroll(cell, torch.ones(7, 5, 3), torch.ones(5, 3)) => cell = lambda input, hx: hx + input; rnnkit.unroll(cell, torch.ones(7, 5, 3), torch.ones(5, 3))",
        "cell = lambda input, hx: (hx[0], hx); rnnkit.unroll(cell, torch.ones(7, 5, 3), (torch.ones(5, 3), torch.ones(5, 3)))",
        "cell = lambda input, hx: (3.0, hx[0]); rnnkit.unroll(cell, torch.ones(7, 5, 3), (torch.ones(5, 3), torch.ones(5, 3)))",
        "cell = lambda input, hx: list(hx); rnnkit.unroll(cell, torch.ones(7, 5, 3), (torch.ones(5, 3), torch.ones(5, 3)))"),
    "cell-batch": ("A layer's state has the layers on axis 0 and the batch on axis 1; a cell's has the batch on axis 0.",
        """\
class Cell(nn.Module):
    def forward(self, input, hx):
        return hx + input

    def initial_state(self, batch_size):
        return torch.zeros(1, batch_size, 3)

cell = Cell(); rnnkit.unroll(cell, torch.ones(7, 5, 3))
=>
class Cell(nn.Module):
    def forward(self, input, hx):
        return hx + input

    def initial_state(self, batch_size):
        return torch.zeros(batch_size, 3)

cell = Cell(); rnnkit.unroll(cell, torch.ones(7, 5, 3))""",
        "cell = lambda input, hx: (hx + input)[:2]; rnnkit.unroll(cell, torch.ones(7, 5, 3), torch.ones(5, 3))",
        "cell = lambda input, hx: (hx + input).sum(); rnnkit.unroll(cell, torch.ones(7, 5, 3), torch.ones(5, 3), lengths=[7, 5, 3, 2, 1])",
        "cell = lambda input, hx: (hx[0] + input, hx[1].mean()); rnnkit.unroll(cell, torch.ones(7, 5, 3), (torch.ones(5, 3), torch.ones(5, 2)))",
        "cell = lambda input, hx: input.sum(); rnnkit.unroll(cell, torch.ones(7, 5, 3), lengths=[7, 5, 3, 2, 1])",
        """\
class Cell(nn.Module):
    def forward(self, input, hx):
        return hx + input.t()

    def initial_state(self, batch_size):
        return torch.zeros(3, batch_size)

cell = Cell(); rnnkit.unroll(cell, torch.ones(7, 5, 3), lengths=[7, 5, 3, 2, 1])"""),
    "cell-shape": ("The outputs of all steps are stacked, so they have one shape. With lengths or reset, samples that end or restart share a tensor with the others, so states have one shape too.",
        "cell = lambda input, hx: torch.cat([hx, input], 1); rnnkit.unroll(cell, torch.ones(7, 5, 3), torch.ones(5, 3)) => cell = lambda input, hx: hx + input; rnnkit.unroll(cell, torch.ones(7, 5, 3), torch.ones(5, 3))",
        "cell = lambda input, hx: (input, torch.cat([hx[1], input], 1)); rnnkit.unroll(cell, torch.ones(7, 5, 3), (torch.ones(5, 3), torch.ones(5, 3)), lengths=[7, 5, 3, 2, 1])",
        "cell = lambda input, hx: (input, torch.cat([hx[1], input], 1)); rnnkit.unroll(cell, torch.ones(7, 5, 3), (torch.ones(5, 3), torch.ones(5, 3)), return_states=True)"),
    "state-none": ("None as the whole state asks the cell for its initial_state. Inside a tuple only rnnkit's own cells read it as zeros; a cell of your own gets it as it is.",
        """\
class Cell(nn.Module):
    def forward(self, input, hx):
        return hx + input

    def initial_state(self, batch_size):
        return torch.zeros(batch_size, 3)

cell, input, hx = Cell(), torch.ones(7, 5, 3), (None,); rnnkit.unroll(cell, input, hx)""",
        "cell = lambda input, hx: hx + input; rnnkit.unroll(cell, torch.ones(7, 5, 3), ())",
        "cell = lambda input, hx: (hx[0] + input, hx[1] + 1); rnnkit.unroll(cell, torch.ones(7, 5, 3), (torch.ones(5, 3), None))"),
    "cell-writes-state": ("Earlier outputs are earlier states, so a step that writes into its state changes them too.",
        "cell = lambda input, hx: hx.add_(input); rnnkit.unroll(cell, torch.ones(7, 5, 3), torch.ones(5, 3)) => cell = lambda input, hx: hx + input; rnnkit.unroll(cell, torch.ones(7, 5, 3), torch.ones(5, 3))",
        "cell = lambda input, hx: (hx[0] + input, hx[1].zero_()); rnnkit.unroll(cell, torch.ones(7, 5, 3), (torch.ones(5, 3), torch.ones(5, 3)))"),
}

STATES = {
    "state-kind": ("The functions of rnnkit.states take a tensor or a tuple of tensors, as modules return.",
        "rnnkit.states.detach(3) => rnnkit.states.detach(torch.ones(1, 5, 4))",
        'rnnkit.states.repeat((torch.ones(1, 1, 6), "h"), 2)'),
    "states-differ": ("States that are joined, or chosen between, must have the same structure.",
        "pair = rnnkit.LSTMState(torch.ones(3, 6), torch.ones(3, 6)); rnnkit.states.from_layers([(pair,), (pair, pair)]) => pair = rnnkit.LSTMState(torch.ones(3, 6), torch.ones(3, 6)); rnnkit.states.from_layers([pair, pair])",
        "pair = rnnkit.LSTMState(torch.ones(3, 6), torch.ones(3, 6)); rnnkit.states.cat([pair, (torch.ones(3, 6), 5)])",
        "pair = rnnkit.LSTMState(torch.ones(3, 6), torch.ones(3, 6)); rnnkit.states.reset(pair, [1, 0, 0], initial=torch.ones(3, 6))"),
    "states-of-one-kind": ("cat and from_layers take a list of states, and one tensor or one pair is a single state.",
        "h = torch.ones(2, 5, 4); rnnkit.states.cat(h) => h = torch.ones(2, 5, 4); rnnkit.states.cat([h])",
        "rnnkit.states.from_layers([])"),
    "state-axes": ("The functions of rnnkit.states find the batch by the number of axes: a layer's state has three, a cell's two.",
        "rnnkit.states.repeat(torch.ones(6), 2) => rnnkit.states.repeat(torch.ones(1, 6), 2)",
        "c = torch.ones(3, 3, 3, 3); rnnkit.states.select(rnnkit.LSTMState(torch.ones(3, 6), c), [1, 0])"),
    "index-kind": ("Select samples by a list of positions, a mask with a flag for each, or a slice.",
        "rnnkit.states.select(torch.ones(4, 3, 6), 1) => rnnkit.states.select(torch.ones(4, 3, 6), [1])",
        "rnnkit.states.select(torch.ones(4, 3, 6), torch.tensor([True, False]))",
        'rnnkit.states.select(torch.ones(4, 3, 6), torch.ones(3, dtype=torch.bool, device="meta"))',
        "rnnkit.states.select(torch.ones(2, 5, 4), slice(None, None, -1)) => rnnkit.states.select(torch.ones(2, 5, 4), range(5)[::-1])"),
    "index-range": ("The index has a position beyond the samples of the state.",
        "rnnkit.states.select(torch.ones(4, 3, 6), [0, 3]) => rnnkit.states.select(torch.ones(4, 3, 6), [0, 2])",
        "rnnkit.states.select(torch.ones(0, 6), [0])"),
    "repeat-times": ("The number of repeats must be a whole number.",
        "rnnkit.states.repeat(torch.ones(3, 6), 1.5) => rnnkit.states.repeat(torch.ones(3, 6), 2)"),
    "expand-size": ("The batch size that a state is expanded to must be a whole number.",
        "rnnkit.states.expand(torch.ones(2, 1, 4), -1) => rnnkit.states.expand(torch.ones(2, 1, 4), 5)"),
    "expand-batch": ("expand gives every sample the state of one sample; a state of several samples does not say which.",
        "state = torch.ones(2, 3, 4); rnnkit.states.expand(state, 5) => state = torch.ones(2, 3, 4); rnnkit.states.expand(rnnkit.states.select(state, [0]), 5)",
        "state = torch.ones(2, 4); rnnkit.states.expand(state, 5)"),
    "cat-sizes": ("States are joined along the batch, so all other axes must be equal.",
        "rnnkit.states.cat([torch.ones(1, 3, 4), torch.ones(1, 3, 5)]) => rnnkit.states.cat([torch.ones(1, 3, 4), torch.ones(1, 2, 4)])"),
    "states-dtype": ("States of one batch are one tensor, which has one dtype.",
        "h, other = torch.ones(1, 3, 4), torch.ones(1, 2, 4, dtype=torch.float64); rnnkit.states.cat([h, other]) => h, other = torch.ones(1, 3, 4), torch.ones(1, 2, 4); rnnkit.states.cat([h, other])",
        "h, c, other = torch.ones(3, 4), torch.ones(3, 4), torch.ones(3, 4).half(); rnnkit.states.cat([rnnkit.LSTMState(h, c), rnnkit.LSTMState(h, other)])"),
    "states-device": ("States that are joined must be on one device.",
        'h, other = torch.ones(1, 3, 4), torch.ones(1, 2, 4, device="meta"); rnnkit.states.cat([h, other]) => h, other = torch.ones(1, 3, 4), torch.ones(1, 2, 4); rnnkit.states.cat([h, other])',
        'rnnkit.states.from_layers([torch.ones(3, 4), torch.ones(3, 4, device="meta")])'),
    "initial-shape": ("The initial state of reset must have the shape, dtype and device of the state.",
        "initial = torch.ones(1, 6); rnnkit.states.reset(torch.ones(3, 6), [1, 0, 0], initial)",
        "initial = torch.ones(3, 6, dtype=torch.float64); rnnkit.states.reset(torch.ones(3, 6), [1, 0, 0], initial)",
        'initial = torch.ones(3, 6, device="meta"); rnnkit.states.reset(torch.ones(3, 6), [1, 0, 0], initial)',
        "rnnkit.states.reset(torch.ones(5, 4), [0, 1, 0, 0, 0], torch.ones(3, 4))"),
    "from-layers-sizes": ("The states of all layers of one module must have the same batch and width.",
        "rnnkit.states.from_layers([torch.ones(3, 6), torch.ones(3, 4)]) => rnnkit.states.from_layers([torch.ones(3, 6), torch.ones(3, 6)])"),
    "to-layers-axes": ("Only a layer's state can be taken apart by layers: it has three axes, or two without a batch.",
        "rnnkit.states.to_layers(torch.ones(5, 4)) => rnnkit.states.to_layers(torch.ones(2, 5, 4))"),
    "to-layers-rows": ("h and c of one layer have the same number of rows, one for each layer and direction.",
        "rnnkit.states.to_layers((torch.ones(2, 5, 4), torch.ones(3, 5, 4))) => rnnkit.states.to_layers((torch.ones(2, 5, 4), torch.ones(2, 5, 4)))"),
    "bridge-how": ('bridge joins the two directions side by side ("concat") or adds them ("sum").',
        'rnnkit.states.bridge(torch.ones(4, 3, 6), "mean") => rnnkit.states.bridge(torch.ones(4, 3, 6), "sum")'),
    "bridge-rows": ("bridge joins the two directions of a bidirectional layer: an even number of rows.",
        "state = torch.ones(3, 5, 4); rnnkit.states.bridge(state) => state = torch.ones(2, 5, 4); rnnkit.states.bridge(state)",
        "rnnkit.states.bridge(torch.ones(4, 6))",
        "state = torch.ones(2, 5, 4); rnnkit.states.bridge(state, state_batch_first=True)",
        "state = torch.ones(5, 2, 4); rnnkit.states.bridge(state)",
        'state = torch.ones(4, 5, 4); rnnkit.states.bridge(state, "sum", state_batch_first=True)'),
}
