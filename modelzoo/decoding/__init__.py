"""Search for the sequences that a decoder finds likely."""
