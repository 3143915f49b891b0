"""What depends on what in anyone's model?

``verify``, ``dependency_map`` and ``trace`` run any module of torch's and compare. No class of
rnnkit comes in, so that what they say of our layers they say of everyone's.
"""
