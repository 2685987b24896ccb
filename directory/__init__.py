"""What is stored: documents, the store port, and the stores behind it."""
