"""A model on one batch, and what differs between two runs of it: baseline, judge, gradients."""
