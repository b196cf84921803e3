"""Leaves of the package: errors, field types, overrides, durations, input specs."""
