"""How does a layer run over its steps, in numbers?

Tensors and sizes go in, tensors come out. No module and no message comes in.
"""
