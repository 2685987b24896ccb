"""The console, in which a customer's administrators see and change access: server-rendered pages,
sign-in, and the same use cases as a JSON API."""
