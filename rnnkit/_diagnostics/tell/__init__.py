"""What users read: a report, and pictures of it."""
