"""Applies events: computes effective access from the directory, the mappings and the policy."""
