"""The stored directory: documents, the store port, and the stores behind it."""
