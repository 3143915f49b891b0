"""What must hold in a right model, one idea a file?

``table`` lists the probes in the order in which they run.
"""
