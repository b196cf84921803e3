"""`python -m modelzoo`, which is the same as `modelzoo`."""

from modelzoo.cli.main import console

if __name__ == "__main__":
    console()
