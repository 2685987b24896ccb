"""Measures Muster: its pure core against other libraries, and the whole as a server."""
