"""Tokenize and lowercase parallel text files as Moses does, for the tokenized BLEU of Multi30k.

    pip install sacremoses
    python benchmarks/moses.py --data_dir=RAW/multi30k --output=multi30k en de

Writes the files `SPLIT.LANGUAGE` of the folder `--data_dir` to the folder `--output`.
"""

import argparse
from pathlib import Path

from sacremoses import MosesPunctNormalizer, MosesTokenizer


def main() -> None:
    """Reads and writes the files."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--data_dir", type=Path, required=True, help="folder of SPLIT.LANGUAGE")
    parser.add_argument("--output", type=Path, required=True, help="folder to write")
    parser.add_argument("languages", nargs="+", help="such as en de")
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
