"""What verify finds, and what rnnkit warns of."""

from tests.checks.rows.inputs import encode

# fmt: off
LEAKS = {
    "repeatable": ("The model draws random numbers, or keeps something from one call to the next.",
        "model, x = nn.GRU(3, 6, batch_first=True), torch.randn(5, 7, 3); rnnkit.verify(model, x, call=lambda model, x: model(x + 0.1 * torch.randn_like(x))) => model, x = nn.GRU(3, 6, batch_first=True), torch.randn(5, 7, 3); rnnkit.verify(model, x)"),
    "batch": ("Samples got mixed: a layer reads the batch as steps, or a view laid them into each other.",
        "model, x = nn.GRU(3, 6), torch.randn(5, 7, 3); rnnkit.verify(model, x) => model, x = nn.GRU(3, 6, batch_first=True), torch.randn(5, 7, 3); rnnkit.verify(model, x)"),
    "alone": ("Padding changes the result: it is pooled, or read as the last step.",
        "model, x = nn.GRU(3, 6, batch_first=True), torch.randn(5, 7, 3); rnnkit.verify(model, x, lengths=[7, 5, 4, 3, 2], call=lambda model, x: model(x)[0][:, -1]) => model = nn.GRU(3, 6, batch_first=True); x, lengths = torch.randn(5, 7, 3), torch.tensor([7, 5, 4, 3, 2]); rnnkit.verify(model, x, lengths, lengths=lengths, call=lambda model, x, lengths: model.last_hidden(model(x, lengths=lengths)[1]))"),
    "padding": ("What lies beyond the length of a sample reaches its output.",
        'model = nn.GRU(3, 6, batch_first=True); x, lengths = torch.randn(5, 7, 3), torch.tensor([7, 5, 4, 3, 2]); rnnkit.verify(model, x, lengths, lengths=lengths, skip=["alone"], call=lambda model, x, lengths: model(x)[0].sum(1) / lengths[:, None]) => model = nn.GRU(3, 6, batch_first=True); x, lengths = torch.randn(5, 7, 3), torch.tensor([7, 5, 4, 3, 2]); rnnkit.verify(model, x, lengths, lengths=lengths, call=lambda model, x, lengths: model(x, lengths=lengths)[0].sum(1) / lengths[:, None])'),
    "causal": ("The output of a step has seen later steps: through a backward direction, a pool, or an attention without a mask.",
        "model, x = nn.GRU(3, 6, batch_first=True, bidirectional=True), torch.randn(5, 7, 3); rnnkit.verify(model, x, causal=True) => model, x = nn.GRU(3, 6, batch_first=True), torch.randn(5, 7, 3); rnnkit.verify(model, x, causal=True)"),
    "reset": ("A state goes on past a flag that starts a sample afresh: often the reset comes one step late.",
        "cell = nn.GRUCell(3, 6); x, flags = torch.randn(5, 7, 3), torch.eye(5, 7); rnnkit.verify(cell, x, flags, reset=1, call=lambda cell, x, flags: rnnkit.unroll(cell, x.transpose(0, 1), reset=flags.t().roll(1, 0).bool())[0].transpose(0, 1)) => cell = nn.GRUCell(3, 6); x, flags = torch.randn(5, 7, 3), torch.eye(5, 7); rnnkit.verify(cell, x, flags, reset=1, call=lambda cell, x, flags: rnnkit.unroll(cell, x.transpose(0, 1), reset=flags.t().bool())[0].transpose(0, 1))"),
    "memory": ("Every step begins from the first state, so that nothing is remembered.",
        "model, x = nn.GRU(3, 6, batch_first=True), torch.randn(5, 7, 3); rnnkit.verify(model, x, call=lambda model, x: torch.cat([model(x_t)[0] for x_t in x.split(1, dim=1)], 1)) => model, x = nn.GRU(3, 6, batch_first=True), torch.randn(5, 7, 3); rnnkit.verify(model, x, call=lambda model, x: model(x)[0])"),
    "coverage": ("A part of the sequence was cut off on the way, and changes no output.",
        "model, x = nn.GRU(3, 6, batch_first=True), torch.randn(5, 7, 3); rnnkit.verify(model, x, call=lambda model, x: model(x[:, [0, 1, 3, 4, 5, 6]])[0]) => model, x = nn.GRU(3, 6, batch_first=True), torch.randn(5, 7, 3); rnnkit.verify(model, x, call=lambda model, x: model(x)[0])"),
    "use": ("An output or a state was taken for something else, such as the last step of a backward direction.",
        "model, x = nn.GRU(3, 6, batch_first=True, bidirectional=True), torch.randn(5, 7, 3); rnnkit.verify(model, x, call=lambda model, x: model(x)[0][:, -1]) => model, x = nn.GRU(3, 6, batch_first=True, bidirectional=True), torch.randn(5, 7, 3); rnnkit.verify(model, x, call=lambda model, x: model.last_hidden(model(x)[1]))"),
    "gradient": ("A layer or a parameter learns nothing: something detached it, its result is not used, or only zeros come back.",
        "model, x = nn.ModuleList([nn.GRU(3, 6, batch_first=True), nn.Linear(6, 2)]), torch.randn(5, 7, 3); rnnkit.verify(model, x, call=lambda model, x: model[1](model[0](x)[0].detach())) => model, x = nn.ModuleList([nn.GRU(3, 6, batch_first=True), nn.Linear(6, 2)]), torch.randn(5, 7, 3); rnnkit.verify(model, x, call=lambda model, x: model[1](model[0](x)[0]))"),
    "streaming": ("The state that is returned is not enough to go on from: chunks give something else than the whole.",
        "gru, x = nn.GRU(3, 6, batch_first=True), torch.randn(5, 7, 3); rnnkit.testing.assert_streams(lambda x, state: gru(x), x) => gru, x = nn.GRU(3, 6, batch_first=True), torch.randn(5, 7, 3); rnnkit.testing.assert_streams(lambda x, state: gru(x, state), x)"),
}

WARNINGS = {
    "bias-by-position": ("The argument after the sizes is the bias, where many expect batch_first; a cell's nonlinearity comes after that.",
        "nn.LSTM(3, 8, 2, True) => nn.LSTM(3, 8, 2, batch_first=True)",
        'nn.RNNCell(3, 8, "relu")'),
    "hidden-size-zero": ("torch takes a hidden size of 0 for a cell, which then computes nothing.",
        "nn.RNNCell(3, 0) => nn.RNNCell(3, 8)"),
    "scope-missing": ("axes= compares sizes with those of the calling function, which binds them only if it is jaxtyped.",
        'layer = rnnkit.GRU(3, 4, axes={"seq": "time"}); layer(torch.ones(7, 5, 3)) => layer = rnnkit.GRU(3, 4); layer(torch.ones(7, 5, 3))'),
    "scope-unbound": ("A name in axes= is misspelt, or missing in the calling function's annotations.",
        f"{encode('batch_first=True, ', seq='tiem')}\n=>\n{encode('batch_first=True, ')}"),
    "script-initial-state": ("TorchScript compiles torch's class, which starts from zeros whatever initial_state returns.",
        """\
class Learned(rnnkit.GRUCell):
    def initial_state(self, batch_size):
        return torch.ones(batch_size, 4)

torch.jit.script(Learned(3, 4))
=>
class Learned(rnnkit.GRUCell):
    def initial_state(self, batch_size):
        return torch.ones(batch_size, 4)

torch.jit.script(nn.GRUCell(3, 4))"""),
}
