"""What is learned: losses, scores and serving signatures."""
