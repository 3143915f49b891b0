"""What checking costs, measured side by side: run ``python -m benchmarks``.

Each module here with a function ``tables`` is a topic; a new file is a new topic.
"""
