"""What depends on what in anyone's model?

``verify``, ``dependency_map`` and ``trace`` run any module of torch's and compare. They import no
class of rnnkit, so that they judge our layers as they judge everyone's.

Each folder is a room, and imports only from the rooms below it: ``probes``, ``explain``,
``measure``, ``inputs``, ``run``, ``tell``.
"""
