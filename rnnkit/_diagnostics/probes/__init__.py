"""The probes of ``verify``: what is changed, and what must not (or must) change with it."""
