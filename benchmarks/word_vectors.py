"""Train word vectors on the training split of a config, for `train.init_embeddings`.

    pip install gensim
    python benchmarks/word_vectors.py --config=imdb_lstm --output=vectors.txt [--config.K=V ...]

Trains skip-gram with negative sampling (Mikolov et al., 2013) on the texts, which the tokenizer of
the config splits. Reads no labels.
"""

import argparse
import time

import numpy as np
from gensim.models import Word2Vec

from modelzoo import config
from modelzoo.cli.flags import split_overrides


def main() -> None:
    """Trains and writes the vectors."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--config", required=True, help="a config with one input of texts")
    parser.add_argument("--output", required=True, help="file to write")
    parser.add_argument("--epochs", type=int, default=6)
    parser.add_argument("--workers", type=int, default=2, help="threads; 1 is deterministic")
    args, rest = parser.parse_known_args()
    pairs, _ = split_overrides(rest)
    experiment = config.load(args.config, pairs)
    split = experiment.data.open().split("train")
    (text,) = split.bound.inputs.values()
    # Whole texts, since tokens that truncation removes teach words too.
    texts = split.gather(np.arange(split.num_examples))["text"]
    tokens, bounds = text.tokenizer.encode(texts)
    words = np.array(text.tokenizer.vocabulary)[tokens]
    sentences = [part.tolist() for part in np.split(words, bounds[1:-1])]
    start = time.perf_counter()
    model = Word2Vec(
        sentences,
        vector_size=experiment.model.embedding_dim,
        window=8,
        min_count=3,
        sg=1,
        negative=8,
        sample=1e-4,
        epochs=args.epochs,
        workers=args.workers,
        seed=experiment.seed + 1,
    )
    model.wv.save_word2vec_format(args.output)
    seconds = time.perf_counter() - start
    print(f"{len(model.wv)} vectors of {model.vector_size} in {seconds:.0f} s: {args.output}")


if __name__ == "__main__":
    main()
