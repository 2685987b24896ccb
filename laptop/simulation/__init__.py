"""Plays a customer's Entra ID against any Muster: the demo, and a deployment's smoke test."""
