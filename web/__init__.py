"""What every HTTP surface shares; it knows none of them."""
