"""The console's use cases as a JSON API, under /console/api, for programs."""
