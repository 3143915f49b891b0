"""Which calls are refused, and with which message.

The guards compare a few sizes on every call. When one fails, ``diagnosis`` finds the cause, and
what to type.
"""
