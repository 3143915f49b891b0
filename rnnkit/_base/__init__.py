"""What do both halves stand on: the modules and the diagnostics?

The errors, how a message is laid out, the state of an LSTM, and what is used of torch's insides.
Nothing that knows a layer, a call or a probe comes in.
"""
