"""What operators do, for the vendor's own programs: `/operator/v1`. Not called `operator`, which is
a module of Python's own."""
