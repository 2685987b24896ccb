"""Who calls: every way to prove it, and what a proven caller belongs to."""
