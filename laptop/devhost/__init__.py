"""Runs function_app.py on a laptop through the real Azure Functions Python runtime."""
