"""Text, music and other tokens."""

from torch.nn import functional

from tests.diagnostics.corpus.forward import drawn, embedding, fine, lstm, part
from tests.diagnostics.models_of_users import later_steps


@fine(
    words=embedding(18, 6),
    attend=part("MultiheadAttention", 6, 2, batch_first=True, dropout=0.2),
    lstm=lstm(6, 6),
    norm=part("LayerNorm", 6),
    inputs=drawn(4, 7, tokens=18),
    causal=True,
    out_seq_dim=2,
)
def attention_before_the_cell(m, words):
    """A language model of causal attention and a recurrent layer, with residual connections."""
    x = m.words(words)
    x = x + m.attend(x, x, x, attn_mask=later_steps(x), need_weights=False)[0]
    x = m.norm(x + m.lstm(x)[0])
    return functional.linear(x, m.words.weight).transpose(1, 2)
