"""What the application asks: may this user do something, and what."""
