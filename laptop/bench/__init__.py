"""What Muster costs: its pure core against other libraries, and the whole of it as a server."""
