"""What Muster says about its own work: log records and traces, without a person's data."""
