"""Layers shared by the families, and kernels that Keras lacks."""
