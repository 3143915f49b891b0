"""What does the library do on real data?

A classifier of speakers, and the mistakes that people make with one. Nothing imports it but
``python -m rnnkit``.
"""
