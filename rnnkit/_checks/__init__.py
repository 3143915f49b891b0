"""Which call is refused, and what is said?

The guards compare a few sizes on every call. When one fails, the errors beside them find the cause
and what to type. No class of rnnkit comes in: a module is what a protocol says of it.
"""
