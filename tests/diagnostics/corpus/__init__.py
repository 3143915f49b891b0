"""Models in the styles of many people: mistakes beside their correct twins, and models that are right.

``python -m tests.diagnostics.corpus`` runs ``verify`` over all of them. They are written for this,
and no probe is to be fitted to one of them: what is found or missed here says what happens on
models that nobody here has seen.
"""
