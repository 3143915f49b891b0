"""A model on one batch, and what differs between two runs of it: baseline, precision, gradients."""
