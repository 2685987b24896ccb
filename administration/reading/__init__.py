"""What administrators look at. Every reader reads what one page shows, and no more."""
