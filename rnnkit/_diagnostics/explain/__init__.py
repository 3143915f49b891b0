"""Where a leak first shows, its cause, its undoing, and the fix."""
