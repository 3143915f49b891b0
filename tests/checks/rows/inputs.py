"""Inputs that are wrong."""


def encode(options: str = "", seq: str = "time", x: str = "x") -> str:
    """Return a program with a layer below a function that binds names."""
    return f"""\
import beartype, jaxtyping

encoder = rnnkit.GRU(3, 4, {options}axes={{"seq": "{seq}", "batch": "b"}})

@jaxtyping.jaxtyped(typechecker=beartype.beartype)
def encode(x: jaxtyping.Float[torch.Tensor, "b time 3"]):
    return encoder({x})

encode(torch.ones(2, 5, 3))"""


# fmt: off
LAYOUT = {
    "layout-batch-first": ("The data come as (batch, seq, feature), as a DataLoader stacks them, and a layer reads (seq, batch, feature) unless it has batch_first=True.",
        "layer = nn.GRU(3, 4, num_layers=2); input, hx = torch.ones(2, 5, 3), torch.ones(2, 2, 4); layer(input, hx)",
        "layer = nn.RNN(3, 4); input, hx = torch.ones(7, 5, 3), torch.ones(1, 7, 4); layer(input, hx)",
        "layer = nn.LSTM(3, 4); input = torch.ones(9, 5, 3); hx = h, c = torch.ones(1, 9, 4), torch.ones(1, 9, 4); layer(input, hx)",
        "layer = nn.GRU(3, 4); input, lengths = torch.ones(7, 5, 3), [5, 3, 4, 1, 2, 5, 5]; layer(input, lengths=lengths)",
        "cell = lambda input, hx: hx + input; input, hx = torch.ones(5, 7, 3), torch.ones(5, 3); rnnkit.unroll(cell, input, hx)"),
    "layout-seq-first": ("The layer has batch_first=True, and the data have the steps on axis 0.",
        "layer = nn.LSTM(3, 4, batch_first=True); input = torch.ones(7, 5, 3); hx = h, c = torch.ones(1, 5, 4), torch.ones(1, 5, 4); layer(input, hx)"),
    "layout-features": ("Convolutions and many recordings have the feature axis before the steps; recurrent layers read it last.",
        "layer = nn.GRU(3, 4, batch_first=True); input = torch.ones(5, 3, 7); layer(input)",
        "layer = nn.RNN(3, 4); input = torch.ones(3, 7, 5); layer(input)",
        "cell = nn.RNNCell(3, 4); input = torch.ones(3, 5); cell(input)",
        "layer = nn.LSTM(3, 4); input = torch.ones(5, 3, 7); layer(input)",
        "layer = nn.GRU(3, 4, batch_first=True); x_t = torch.ones(3, 5); layer.step(x_t)"),
    "layout-unbatched": ("An input of two axes is one sequence without a batch, not a batch of single steps.",
        "layer = nn.GRU(3, 4); input, hx = torch.ones(5, 3), torch.ones(1, 5, 4); layer(input, hx)"),
    "scope-layout": ("The caller's annotation names seq and batch in one order, and the layer reads them in the other.",
        f"{encode()}\n=>\n{encode('batch_first=True, ')}"),
}

INPUT = {
    "input-type": ("The input must be one tensor, or packed sequences, not a list, an array or the whole result of a layer.",
        "layer = nn.GRU(3, 4); input = [torch.ones(7, 3), torch.ones(5, 3)]; layer(input)",
        "lstm, layer = nn.LSTM(3, 4), nn.GRU(4, 6); input = lstm(torch.ones(7, 5, 3)); layer(input)",
        "import numpy as np; layer, input = nn.RNN(3, 4), np.ones((7, 5, 3)); layer(input)",
        "cell = nn.GRUCell(3, 4); input = [torch.ones(5, 3), torch.ones(5, 3)]; cell(input)",
        'layer = nn.GRU(3, 4); layer("seven words")',
        "layer = nn.GRU(3, 4); input = [torch.ones(7, 5, 3), torch.ones(7, 3)]; layer(input)",
        "cell = rnnkit.GRUCell(3, 4); input = nn.utils.rnn.pack_sequence([torch.ones(7, 3), torch.ones(2, 3)]); rnnkit.unroll(cell, input)",
        "layer = rnnkit.Recurrent(rnnkit.GRUCell(3, 4), batch_first=True); input = nn.utils.rnn.pack_sequence([torch.ones(7, 3), torch.ones(2, 3)]); layer(input)",
        'rnnkit.unroll(lambda input, hx: hx + input, "text")',
        "cell = nn.LSTMCell(3, 4); cell(None)",
        "cell = nn.GRUCell(3, 4); input = nn.utils.rnn.pack_padded_sequence(torch.ones(7, 5, 3), [7, 6, 6, 2, 1], enforce_sorted=False); cell(input)"),
    "input-layout": ("A nested tensor has rows of different lengths, and torch has recurrent kernels for dense tensors only.",
        "layer = nn.GRU(3, 4, batch_first=True); input = torch.nested.nested_tensor([torch.ones(7, 3), torch.ones(5, 3)], layout=torch.jagged); layer(input)",
        "layer = nn.GRU(3, 4); input, hx = torch.ones(7, 2, 3), torch.nested.nested_tensor([torch.ones(2, 4), torch.ones(2, 4)], layout=torch.jagged); layer(input, hx)",
        "input = torch.ones(7, 5, 3).to_sparse(); rnnkit.unroll(rnnkit.GRUCell(3, 4), input)",
        "layer, input = nn.GRU(3, 4), torch.ones(7, 5, 3).to_sparse(); layer(input, lengths=[7] * 5)",
        "input = torch.nested.nested_tensor([torch.ones(7, 3), torch.ones(5, 3)], layout=torch.jagged); rnnkit.unroll(lambda input, hx: hx + input, input, torch.ones(2, 3), batch_first=True)",
        "layer = nn.GRU(3, 4, batch_first=True); input = torch.nested.nested_tensor([torch.ones(7, 3), torch.ones(5, 3)]); layer(input)",
        "cell = nn.GRUCell(3, 4); input = torch.nested.nested_tensor([torch.ones(3), torch.ones(3)]); cell(input)"),
    "input-rank": ("The input has an axis too many or too few: an image, a single vector, or a sequence given to a cell.",
        "cell = nn.GRUCell(3, 4); input, hx = torch.ones(7, 5, 3), None; cell(input)",
        "layer = nn.LSTM(3, 4); input = torch.ones(3); layer(input)",
        "cell = nn.GRUCell(3, 4); input = torch.ones(7, 5, 2, 3); cell(input)",
        "layer = nn.GRU(6, 4); input = torch.ones(5, 2, 7, 3); layer(input)",
        "layer = nn.GRU(3, 4); layer(torch.ones(()))",
        "unsafe: layer = nn.GRU(1, 4); input = nn.utils.rnn.pack_sequence([torch.ones(2), torch.ones(1)]); layer(input) => layer = nn.GRU(1, 4); input = nn.utils.rnn.pack_sequence([torch.ones(2, 1), torch.ones(1, 1)]); layer(input)",
        "layer = nn.LSTM(6, 4); input = nn.utils.rnn.pack_sequence([torch.ones(2, 2, 3), torch.ones(1, 2, 3)]); layer(input)",
        "layer = nn.GRU(3, 4, batch_first=True); input = torch.ones(5, 7, 1, 3); layer(input)",
        "layer = nn.LSTM(10, 4, batch_first=True); input = torch.ones(5, 2, 7, 3); layer(input)",
        "layer = nn.LSTM(6, 4, batch_first=True); input = torch.ones(5, 2, 7, 6); layer(input)"),
    "input-width": ("The weights were made for a different number of features than each step has.",
        "layer = nn.LSTM(3, 4); input = torch.ones(7, 5, 10); layer(input)",
        "layer = nn.RNN(1, 4, batch_first=True); input = torch.ones(5, 7); layer(input)",
        "layer = nn.GRU(1, 4); input = torch.ones(1, 7, 5); layer(input)",
        "layer = rnnkit.GRU(1, 4); x_t = torch.ones(5, 3); layer.step(x_t)",
        "layer = nn.GRU(1, 4); input = nn.utils.rnn.pack_sequence([torch.ones(2, 5), torch.ones(1, 5)]); layer(input)"),
    "input-empty": ("A sequence needs at least one step; torch refuses an empty one.",
        "layer = nn.GRU(3, 4); layer(torch.ones(0, 5, 3)) => layer = nn.GRU(3, 4); layer(torch.ones(1, 5, 3))",
        "input = torch.ones(0, 3); rnnkit.unroll(nn.GRUCell(3, 4), input, batch_first=False)"),
    "input-numbers": ("Recurrent layers compute with floating-point numbers, so token ids go through an embedding first.",
        "layer = nn.LSTM(3, 4); input = torch.ones(7, 5, dtype=torch.int64); layer(input)",
        "unsafe: layer = nn.GRU(3, 4); input = nn.utils.rnn.pack_sequence([torch.ones(2, dtype=torch.int64), torch.ones(1, dtype=torch.int64)]); layer(input)",
        "unsafe: layer = nn.GRU(3, 4); input = nn.utils.rnn.pack_sequence([torch.ones(2, 1, dtype=torch.int64), torch.ones(1, 1, dtype=torch.int64)]); layer(input)",
        "layer = nn.GRU(3, 4); input = torch.ones(7, 3, dtype=torch.bool); layer(input)",
        "layer = nn.GRU(3, 4); input = torch.ones(7, 5, dtype=torch.uint8); layer(input)"),
    "input-dtype": ("Data and weights differ in their floating-point type: NumPy makes float64, torch float32.",
        "layer = nn.GRU(3, 4); input = torch.ones(7, 5, 3, dtype=torch.float64); layer(input)",
        "layer = nn.LSTM(3, 4); input = torch.ones(7, 5, 3, dtype=torch.bfloat16); layer(input)"),
    "input-device": ("The model was moved to a device, and the data were not, or the other way round.",
        'layer = nn.LSTM(3, 4, device="meta"); input = torch.ones(7, 5, 3); layer(input)',
        'layer = nn.LSTM(3, 4); input = torch.ones(7, 5, 3, device="meta"); layer(input)',
        'unsafe: layer = nn.RNN(3, 4, device="meta"); input = nn.utils.rnn.pack_sequence([torch.ones(2, 3), torch.ones(1, 3)]); layer(input)'),
    "trace-function": ("torch.jit.trace of a function finds no parameters: it would write the weights into the program as constants.",
        """\
layer, x = nn.GRU(3, 4), torch.ones(7, 5, 3)
torch.jit.trace(lambda x: layer(x)[0], (x,))
=>
model, x = nn.Sequential(nn.GRU(3, 4)), torch.ones(7, 5, 3)
torch.jit.trace(model, (x,))"""),
    "kernel-missing": ("needs: torch 2.13, with whose words the message begins",
        "Under autocast torch asks for a half-precision kernel of recurrent layers, which CPUs without AVX-512 do not have.",
        """\
layer, input = nn.LSTM(3, 4), torch.ones(7, 5, 3)
with torch.autocast("cpu", torch.float16):
    output, state = layer(input)
=>
layer, input = nn.LSTM(3, 4), torch.ones(7, 5, 3)
with torch.autocast("cpu", enabled=False):
    output, state = layer(input)"""),
    "scope-size": ("The caller's annotation bound a name to one size, and the layer's input has a different one.",
        f"{encode('batch_first=True, ', x='x[:, 1:]')}\n=>\n{encode('batch_first=True, ')}",
        """\
import jaxtyping

layer, x = rnnkit.LSTMCell(3, 4, axes={"batch": "b"}), torch.ones(7, 5, 3)
with jaxtyping.jaxtyped("context"):
    assert isinstance(x, jaxtyping.Float[torch.Tensor, "b _ _"])
    layer(x[0])""",
        """\
import jaxtyping

layer, x = rnnkit.GRU(3, 4, axes={"hidden": "feat"}), torch.ones(7, 5, 3)
with jaxtyping.jaxtyped("context"):
    assert isinstance(x, jaxtyping.Float[torch.Tensor, "_ _ feat"])
    layer(x)"""),
}
