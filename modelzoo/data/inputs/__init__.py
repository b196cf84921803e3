"""Inputs: from columns to what a model sees, with one function for training and serving."""
