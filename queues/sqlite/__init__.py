"""The queue and the topic in an SQLite file."""
