"""What all other packages build on: errors, field types, overrides, public names, compat."""
