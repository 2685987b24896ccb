"""What runs and measures Muster on a laptop; no release holds it."""
