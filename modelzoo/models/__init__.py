"""Model families, one a file; they know neither data nor strategy."""
