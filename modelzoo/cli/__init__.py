"""The commands: absl binaries, which also run as `python -m modelzoo.cli.NAME`."""
