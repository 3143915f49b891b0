"""What cannot be converted, verified, mapped or traced."""

# fmt: off
MODELS = {
    "model-type": ("A model is an instance of torch.nn.Module, not a class, its weights or a function.",
        "rnnkit.convert(nn.LSTM) => rnnkit.convert(nn.LSTM(3, 4))",
        "rnnkit.convert(None)",
        "rnnkit.convert(torch.nn.LSTM(3, 4).state_dict())",
        "model = torch.nn.GRU(3, 4, batch_first=True); rnnkit.verify(lambda x: model(x), torch.ones(5, 7, 3))",
        "rnnkit.verify(nn.LSTM, torch.ones(5, 7, 3))",
        "rnnkit.trace(None, torch.ones(5, 7, 3))",
        "rnnkit.verify(torch.jit.script(torch.nn.GRU(3, 4, batch_first=True)), torch.ones(5, 7, 3))",
        "rnnkit.dependency_map({}, torch.ones(5, 7, 3))"),
    "convert-result": ("convert and revert change the model in place; what they return is a list of what was changed.",
        "model, input = torch.nn.LSTM(3, 4), torch.ones(7, 5, 3); rnnkit.convert(model)(input)"),
    "model-escaped": ("verify runs a copy, and this model holds a function or an object that calls the original.",
        """\
class Model(nn.Linear):
    def forward(self, x):
        return model.head(x)

model, x = Model(3, 4), torch.ones(5, 7, 3); model.head = nn.Linear(3, 2); rnnkit.trace(model, x)
=>
class Model(nn.Linear):
    def forward(self, x):
        return self.head(x)

model, x = Model(3, 4), torch.ones(5, 7, 3); model.head = nn.Linear(3, 2); rnnkit.trace(model, x)"""),
    "model-uncopied": ("verify, trace and dependency_map run copies of a model, never the model itself, and a part of this one refuses to be copied.",
        """\
class Cache:
    def __init__(self):
        self.last = torch.zeros(3)
    def __deepcopy__(self, memo):
        raise TypeError("a cache is not copied")

model, x = nn.GRU(3, 6, batch_first=True), torch.randn(5, 7, 3); model.cache = Cache(); rnnkit.verify(model, x)
=>
model, x = nn.GRU(3, 6, batch_first=True), torch.randn(5, 7, 3); model.last = torch.zeros(3); rnnkit.verify(model, x)""",
        """\
class Sharded(nn.GRU):
    def __deepcopy__(self, memo):
        raise RuntimeError("no copies of what is sharded")

model, x = nn.ModuleDict({"encoder": Sharded(3, 6)}), torch.randn(5, 7, 3); rnnkit.trace(model, x)""",
        """\
class Lazy(torch.Tensor):
    def clone(self):
        raise RuntimeError("no copies")
    def __deepcopy__(self, memo):
        return self.clone()

model, x = nn.GRU(3, 6), torch.randn(5, 7, 3); model.cache = torch.zeros(3).as_subclass(Lazy); rnnkit.dependency_map(model, x)""",
        "model, x = nn.GRU(3, 6), torch.randn(5, 7, 3); model.pairs = (); [setattr(model, 'pairs', (k, model.pairs)) for k in range(5000)]; rnnkit.verify(model, x)"),
    "script-state": ("TorchScript compiles torch's own class, which has no batch-first states.",
        "torch.jit.script(rnnkit.GRU(3, 4, state_batch_first=True)) => torch.jit.script(rnnkit.GRU(3, 4))"),
}

DIAGNOSTICS = {
    "verify-argument": ("An argument of verify is something else than it takes.",
        'model, x = nn.GRU(3, 6, batch_first=True), torch.randn(5, 7, 3); rnnkit.verify(model, x, skip=["padings"]) => model, x = nn.GRU(3, 6, batch_first=True), torch.randn(5, 7, 3); rnnkit.verify(model, x, skip=["padding"])',
        "model, x = nn.GRU(3, 6, batch_first=True), torch.randn(5, 7, 3); rnnkit.verify(model, x, skip=3)",
        "model, x = nn.GRU(3, 6, batch_first=True), torch.randn(5, 7, 3); rnnkit.verify(model, x, kwargs=[x])",
        "model, x = nn.GRU(3, 6, batch_first=True), torch.randn(5, 7, 3); rnnkit.verify(model, x, skip=1.5)",
        "model, x = nn.GRU(3, 6, batch_first=True), torch.randn(5, 7, 3); rnnkit.verify(model, x, causal=torch.tensor([1, 2]))",
        "model, x = nn.GRU(3, 6, batch_first=True), torch.randn(5, 7, 3); rnnkit.verify(model, x, kwargs={1: x})",
        "model, x = nn.GRU(3, 6, batch_first=True), torch.randn(5, 7, 3); rnnkit.verify(model, x, dim=1)",
        "model, x = nn.GRU(3, 6, batch_first=True), torch.randn(5, 7, 3); rnnkit.verify(model, x, batch_axis=1)",
        'model, x = nn.GRU(3, 6, batch_first=True), torch.randn(5, 7, 3); rnnkit.verify(model, x, only=["batch"])',
        "model, x = nn.GRU(3, 6, batch_first=True), torch.randn(5, 7, 3); rnnkit.verify(model, x, lenghts=[7] * 5)",
        "model, x = nn.GRU(3, 6, batch_first=True), torch.randn(5, 7, 3); rnnkit.verify(model, x, batch_dim=torch.ones(2))",
        'model, x = nn.GRU(3, 6, batch_first=True), torch.randn(5, 7, 3); rnnkit.verify(model, x, call="generate")',
        "model, x = nn.GRU(3, 6, batch_first=True), torch.randn(5, 7, 3); rnnkit.verify(model, x, reset=[0])",
        "model, x = nn.GRU(3, 6, batch_first=True), torch.randn(5, 7, 3); rnnkit.verify(model, x, lookahead=1.5)",
        'model, x = nn.GRU(3, 6, batch_first=True), torch.randn(5, 7, 3); rnnkit.verify(model, x, pad="left")',
        'model, x = nn.GRU(3, 6, batch_first=True), torch.randn(5, 7, 3); rnnkit.verify(model, x, causal="yes")',
        'model, x = nn.GRU(3, 6, batch_first=True), torch.randn(5, 7, 3); rnnkit.verify(model, x, streaming="yes")',
        'model, x = nn.GRU(3, 6, batch_first=True), torch.randn(5, 7, 3); rnnkit.verify(model, x, seq_dim="1")',
        "model, x = nn.GRU(3, 6, batch_first=True), torch.randn(5, 7, 3); rnnkit.verify(model, x, batch_dim=None)",
        "model, x = nn.GRU(3, 6, batch_first=True), torch.randn(5, 7, 3); rnnkit.verify(model, x, lookahead=-1)",
        'model, x = nn.GRU(3, 6, batch_first=True), torch.randn(5, 7, 3); rnnkit.verify(model, x, out_seq_dim="1")',
        "model, x = nn.GRU(3, 6, batch_first=True), torch.randn(5, 7, 3); rnnkit.verify(model, x, seq_dim={})",
        "model, x = nn.GRU(3, 6, batch_first=True), torch.randn(5, 7, 3); rnnkit.verify(model, x, other=x)",
        "model, x = nn.GRU(3, 6, batch_first=True), torch.randn(5, 7, 3); rnnkit.verify(model, x, other=(x[1:],))",
        "model, x = nn.GRU(3, 6, batch_first=True), torch.randn(5, 7, 3); rnnkit.verify(model, x, other=(x, x))",
        "model, x = nn.GRU(3, 6, batch_first=True), torch.randn(5, 7, 3); rnnkit.dependency_map(model, x, dim=None)",
        "model, x = nn.GRU(3, 6, batch_first=True), torch.randn(5, 7, 3); rnnkit.dependency_map(model, x, axis=1)"),
    "verify-axis": ("No tensor has the axis that was named, or one axis was named for two things.",
        "model, x = nn.GRU(3, 6, batch_first=True), torch.randn(5, 7, 3); rnnkit.verify(model, x, seq_dim=9) => model, x = nn.GRU(3, 6, batch_first=True), torch.randn(5, 7, 3); rnnkit.verify(model, x, seq_dim=1)",
        "model, x = nn.GRU(3, 6, batch_first=True), torch.randn(5, 7, 3); rnnkit.verify(model, x, seq_dim=0)",
        "model, x = nn.GRU(3, 6, batch_first=True), torch.randn(5, 7, 3); rnnkit.verify(model, x, out_seq_dim=0)",
        "model, x = nn.GRU(3, 6, batch_first=True), torch.randn(5, 7, 3); rnnkit.verify(model, x, batch_dim=3)",
        "model, x = nn.GRU(3, 6, batch_first=True), torch.randn(5, 7, 3); rnnkit.verify(model, x, seq_dim={0: -3})",
        "model, x = nn.GRU(3, 6, batch_first=True), torch.randn(5, 7, 3); rnnkit.verify(model, torch.tensor(1.0))",
        "model, x = nn.GRU(3, 6, batch_first=True), torch.randn(5, 7, 3); rnnkit.dependency_map(model, x, dim=-4)",
        "model, x = nn.GRU(3, 6, batch_first=True), torch.randn(5, 7, 3); rnnkit.dependency_map(model, x, out_dim=-4)",
        "model = nn.GRU(3, 6, batch_first=True); rnnkit.verify(model, torch.zeros(0, 7, 3))"),
    "verify-inputs": ("verify, trace and dependency_map run the model on tensors.",
        "model, x = nn.GRU(3, 6, batch_first=True), torch.randn(5, 7, 3); rnnkit.verify(model, x.numpy()) => model, x = nn.GRU(3, 6, batch_first=True), torch.randn(5, 7, 3); rnnkit.verify(model, x)",
        'model, x = nn.GRU(3, 6, batch_first=True), torch.empty(5, 7, 3, device="meta"); rnnkit.verify(model, x)',
        "model, x = nn.GRU(3, 6, batch_first=True), torch.randn(5, 7, 3).to_sparse(); rnnkit.dependency_map(model, x)"),
    "batch-whole": ("A DataLoader yields (input, target) or more, and the model takes the parts.",
        """\
class Tagger(nn.GRU):
    def forward(self, x, lengths):
        return super().forward(x, lengths=lengths)[0]

model, batch = Tagger(3, 4, batch_first=True), [torch.randn(5, 7, 3), torch.tensor([7, 5, 4, 3, 2])]; rnnkit.verify(model, batch)
=>
class Tagger(nn.GRU):
    def forward(self, x, lengths):
        return super().forward(x, lengths=lengths)[0]

model, batch = Tagger(3, 4, batch_first=True), [torch.randn(5, 7, 3), torch.tensor([7, 5, 4, 3, 2])]; rnnkit.verify(model, *batch, lengths=batch[1])"""),
    "verify-packed": ("In packed sequences the samples are interleaved, so there is no batch axis along which one can be changed.",
        "model, x = nn.GRU(3, 6), nn.utils.rnn.pack_sequence([torch.ones(7, 3), torch.ones(5, 3)]); rnnkit.verify(model, x) => model, x = nn.GRU(3, 6, batch_first=True), torch.randn(5, 7, 3); rnnkit.verify(model, x)",
        "model, x = nn.GRU(3, 6, batch_first=True), torch.randn(5, 7, 3); rnnkit.verify(model, {'x': nn.utils.rnn.pack_sequence([torch.ones(3, 3)])})",
        "model, x = nn.GRU(3, 6, batch_first=True), torch.randn(5, 7, 3); rnnkit.verify(model, torch.nested.nested_tensor([*x]))"),
    "verify-lengths": ("lengths are one count for each sample of the batch, from 1 to the number of steps.",
        'model, x = nn.GRU(3, 6, batch_first=True), torch.randn(5, 7, 3); rnnkit.verify(model, x, lengths=[7, 2, 3, 4, 9]) => model, x = nn.GRU(3, 6, batch_first=True), torch.randn(5, 7, 3); rnnkit.verify(model, x, lengths=[7, 2, 3, 4, 5], skip=["alone", "padding"])',
        "model, x = nn.GRU(3, 6, batch_first=True), torch.randn(5, 7, 3); rnnkit.verify(model, x, lengths=[0, 1, 2, 3, 7])",
        "model, x = nn.GRU(3, 6, batch_first=True), torch.randn(5, 7, 3); rnnkit.verify(model, x, lengths=[2.7, 7, 7, 7, 7])",
        "model, x = nn.GRU(3, 6, batch_first=True), torch.randn(5, 7, 3); rnnkit.verify(model, x, lengths=[])",
        "rnnkit.verify(nn.Flatten(0), torch.randn(4), lengths=[1, 1, 1, 1])"),
    "map-rule": ("A rule says what a map should look like, and no rule has this name.",
        'model, x = nn.GRU(3, 6, batch_first=True), torch.randn(5, 7, 3); rnnkit.dependency_map(model, x, dim=1).forbidden("causl") => model, x = nn.GRU(3, 6, batch_first=True), torch.randn(5, 7, 3); rnnkit.dependency_map(model, x, dim=1).forbidden("causal")'),
    "map-axes": ("A rule compares each index of the input with the same index of the output, so both axes must be equally long.",
        'model, x = nn.Conv1d(3, 4, 3), torch.randn(5, 3, 7); rnnkit.dependency_map(model, x, dim=2).forbidden("causal") => model, x = nn.Conv1d(3, 4, 3, padding=1), torch.randn(5, 3, 7); rnnkit.dependency_map(model, x, dim=2).forbidden("causal")'),
    "streams-argument": ("assert_streams runs step(x, state), a module or a function, on a tensor of whole sequences.",
        "x = torch.randn(5, 7, 3); rnnkit.testing.assert_streams(nn.GRU, x) => x = torch.randn(5, 7, 3); rnnkit.testing.assert_streams(nn.GRU(3, 4, batch_first=True), x)",
        "rnnkit.testing.assert_streams(3, torch.randn(5, 7, 3))",
        "layer = nn.GRU(3, 4, batch_first=True); rnnkit.testing.assert_streams(layer, None)",
        "layer, x = nn.GRU(3, 4, batch_first=True), torch.randn(5, 7, 3).numpy(); rnnkit.testing.assert_streams(layer, x)"),
}
