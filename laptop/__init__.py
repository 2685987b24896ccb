"""Runs and measures Muster on a laptop; not part of a release."""
