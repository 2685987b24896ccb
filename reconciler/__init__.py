"""What an event does: effective access from the directory, the mappings and the policy."""
