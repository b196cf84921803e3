"""Trains word vectors on the training split of a config of texts: what `init_embeddings` reads.

    pip install gensim
    python benchmarks/word_vectors.py --config=imdb_lstm --output=vectors.txt [--config.K=V ...]

Skip-gram with negative sampling (Mikolov et al., 2013), of the words that the config's own
tokenizer makes of the texts alone; no label is read.
"""

import argparse
import time

import numpy as np
from gensim.models import Word2Vec

from modelzoo import config
from modelzoo.cli.flags import split_overrides


def main() -> None:
    """Trains and writes."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--config", required=True)
    parser.add_argument("--output", required=True)
    parser.add_argument("--epochs", type=int, default=6)
    parser.add_argument("--workers", type=int, default=2, help="with one the vectors are the same")
    args, rest = parser.parse_known_args()
    pairs, _ = split_overrides(rest)
    experiment = config.load(args.config, pairs)
    source = experiment.data.open("train")
    # The whole texts: what is cut for the model teaches words too.
    texts = source.gather(np.arange(source.num_examples), 1)["text"]
    tokens, bounds = source.spec.tokenizer.encode(texts)
    words = np.array(source.spec.tokenizer.vocabulary)[tokens]
    sentences = [part.tolist() for part in np.split(words, bounds[1:-1])]
    began = time.perf_counter()
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
    seconds = time.perf_counter() - began
    print(f"{len(model.wv)} vectors of {model.vector_size} in {seconds:.0f} s: {args.output}")


if __name__ == "__main__":
    main()
