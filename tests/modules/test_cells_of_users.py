"""The cells of the examples: right by their formulas, and layers like any other."""

import torch
from torch import Tensor, nn
from torch.testing import assert_close

import rnnkit
from tests.modules.cells_of_users import AttentionGRUCell, LayerNormLSTMCell, PeepholeLSTMCell

BATCH = 5
SEQ = 7
WIDTH = 3
HIDDEN = 4


def normalised(x: Tensor, norm: nn.LayerNorm) -> Tensor:
    """Bring a sample's features to mean 0 and variance 1, then scale and shift them."""
    centred = x - x.mean(dim=1, keepdim=True)
    variance = centred.square().mean(dim=1, keepdim=True)
    return norm.weight * centred / (variance + norm.eps).sqrt() + norm.bias


def test_layer_norm_lstm_by_its_formula():
    """A step is the formula of the documentation, gate by gate."""
    cell = LayerNormLSTMCell(WIDTH, HIDDEN)
    x = torch.randn(BATCH, WIDTH)
    for parameter in cell.parameters():
        nn.init.normal_(parameter)
    h, c = torch.randn(2, BATCH, HIDDEN)
    (w_ih, norm_ih) = cell.read
    (w_hh, norm_hh) = cell.keep

    gates = normalised(x @ w_ih.weight.T, norm_ih) + normalised(h @ w_hh.weight.T, norm_hh)
    i, f, g, o = gates.split(HIDDEN, dim=1)
    c_new = torch.sigmoid(f) * c + torch.sigmoid(i) * torch.tanh(g)
    h_new = torch.sigmoid(o) * torch.tanh(normalised(c_new, cell.norm))

    assert_close(cell(x, (h, c)), rnnkit.LSTMState(h_new, c_new))


def test_peepholes_of_zero_are_the_usual_lstm():
    """With the same weights the cell computes what torch's computes; a peephole changes it."""
    cell = PeepholeLSTMCell(WIDTH, HIDDEN)
    usual = nn.LSTMCell(WIDTH, HIDDEN)
    with torch.no_grad():
        usual.weight_ih.copy_(cell.gates.weight[:, :WIDTH])
        usual.weight_hh.copy_(cell.gates.weight[:, WIDTH:])
        usual.bias_ih.copy_(cell.gates.bias)
        usual.bias_hh.zero_()
    x = torch.randn(BATCH, WIDTH)
    hx = tuple(torch.randn(2, BATCH, HIDDEN))
    expected = usual(x, hx)

    assert_close(tuple(cell(x, hx)), expected)
    for peephole in (cell.to_input_gate, cell.to_forget_gate, cell.to_output_gate):
        nn.init.ones_(peephole)
        assert not torch.allclose(cell(x, hx).h, expected[0], atol=1e-3)
        nn.init.zeros_(peephole)


def test_attention_leaves_the_padding_of_the_memory_out():
    """A sample returns what it returns alone, with its memory cut to its length."""
    cell = AttentionGRUCell(WIDTH, HIDDEN, memory_size=6)
    x = torch.randn(SEQ, 2, WIDTH)
    h = torch.randn(2, HIDDEN)
    memory = torch.randn(2, 5, 6)
    output, _ = rnnkit.unroll(cell, x, (h, memory, torch.tensor([5, 3])))
    alone = (h[1:], memory[1:, :3], torch.tensor([3]))

    assert_close(rnnkit.unroll(cell, x[:, 1:], alone)[0], output[:, 1:])
