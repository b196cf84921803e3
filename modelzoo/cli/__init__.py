"""The commands: absl binaries, each also `python -m modelzoo.cli.NAME`."""
