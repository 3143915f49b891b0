"""How a layer runs over its steps, numerically.

Tensors and sizes go in, tensors come out. Nothing here knows a module or raises one of our errors.
"""
