"""The console: where a customer's administrator sees and decides. Server-rendered pages, their
sign-in, and the same use cases as a JSON API."""
