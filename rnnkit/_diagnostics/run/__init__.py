"""A private copy of a model, run and watched."""
