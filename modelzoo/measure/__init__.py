"""What a model costs: FLOPs and memory."""
