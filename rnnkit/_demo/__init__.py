"""The demonstration, ``python -m rnnkit``: mistakes that people make, on recorded speech."""
