"""What does a user import and call?

The layers, the cells, ``unroll``, ``Recurrent`` and ``convert``. Numbers are the kernels' affair,
refusals that of the checks.
"""
