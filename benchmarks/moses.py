"""Tokenizes and lowers parallel files as Moses does: what tokenized BLEU of Multi30k is of.

    pip install sacremoses
    python benchmarks/moses.py --data_dir=RAW/multi30k --output=multi30k en de

Writes the files `SPLIT.LANGUAGE` of a folder with the same names to another.
"""

import argparse
from pathlib import Path

from sacremoses import MosesPunctNormalizer, MosesTokenizer


def main() -> None:
    """Reads and writes."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--data_dir", type=Path, required=True)
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("languages", nargs="+")
    args = parser.parse_args()
    args.output.mkdir(parents=True, exist_ok=True)
    for language in args.languages:
        punctuation, words = MosesPunctNormalizer(lang=language), MosesTokenizer(lang=language)
        for file in sorted(args.data_dir.glob(f"*.{language}")):
            lines = file.read_text(encoding="utf-8").splitlines()
            with open(args.output / file.name, "w", encoding="utf-8") as out:
                for line in lines:
                    line = punctuation.normalize(line)
                    tokens = words.tokenize(line, escape=False)
                    out.write(" ".join(tokens).lower() + "\n")
            print(f"{file.name}: {len(lines)} lines")


if __name__ == "__main__":
    main()
