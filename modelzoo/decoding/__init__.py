"""Greedy search, sampling and beam search for sequences of tokens."""
