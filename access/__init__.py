"""The access API for the application: what a user may do, and decisions about it."""
