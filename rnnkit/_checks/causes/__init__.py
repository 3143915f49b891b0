"""Why a call is wrong and what to type: asked only when a guard has seen that something is.

Each answer is a ``Cause``, or None where nothing is wrong. States are explained by what can be
typed to change them (``moves``), everything else by a chain of questions.
"""
