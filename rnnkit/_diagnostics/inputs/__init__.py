"""The batch by place: axes, lengths, parts, changes."""
