"""Sources: rows and columns by name, and how they split."""
