"""Authentication: every way to prove who calls, and the tenant that a proven caller belongs to."""
