"""The probes of ``verify``, one question per file; their private helpers stand beside them."""
