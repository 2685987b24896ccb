"""The operators' interface for the vendor's own programs: `/operator/v1`. (The package is not
called `operator`, because Python has a module of that name.)"""
