"""What operators do, for the vendor's own programs: `/operator/v1`."""
