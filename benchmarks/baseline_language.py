"""Evaluate scikit-learn's logistic regression on the data of `cldr_language_lstm`.

    python benchmarks/baseline_language.py

The features are tf-idf weights of character n-grams, in their original case. The validation split
selects the n-grams and C; then the test split is evaluated once. Writes
`results/baseline_cldr_language.json`.
"""

import itertools
import platform
import time

import numpy as np
import sklearn
from babel import __version__ as babel_version
from record import ROOT, commit, machine, summarize
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import f1_score, log_loss

from modelzoo import configs
from modelzoo.training import run_folder

GRID = {
    "analyzer": ("char_wb", "char"),
    "ngram_range": ((1, 4), (1, 5)),
    "lowercase": (False,),
}
C_VALUES = (30, 100, 300)


def evaluate(
    model: LogisticRegression, features, labels: np.ndarray
) -> dict[str, dict[str, float]]:
    """The metrics of a split, as in the records of training runs."""
    probabilities = model.predict_proba(features)
    classes = probabilities.argmax(-1)
    values = {
        "loss": log_loss(labels, probabilities, labels=model.classes_),
        "accuracy": np.mean(classes == labels),
        "macro_f1": f1_score(labels, classes, average="macro"),
    }
    return {name: summarize([float(value)]) for name, value in values.items()}


def main() -> None:
    """Selects a model, evaluates it and writes the record."""
    data = configs.get("cldr_language_lstm").data
    opened = data.open()
    texts, labels = {}, {}
    for name in ("train", "validation", "test"):
        split = opened.split(name)
        raw = split.gather(np.arange(split.num_examples))
        texts[name] = [text.decode() for text in raw["text"].numpy()]
        labels[name] = split.bound.labels(raw)["label"].numpy()
    trials, best = [], (0.0,)
    for values in itertools.product(*GRID.values()):
        settings = dict(zip(GRID, values, strict=True))
        vectorizer = TfidfVectorizer(**settings, sublinear_tf=True)
        features = vectorizer.fit_transform(texts["train"])
        for c in C_VALUES:
            start = time.perf_counter()
            model = LogisticRegression(C=c, max_iter=1000).fit(features, labels["train"])
            seconds = time.perf_counter() - start
            held_out = vectorizer.transform(texts["validation"])
            validation = evaluate(model, held_out, labels["validation"])
            accuracy = validation["accuracy"]["mean"]
            trials.append({**settings, "C": c, "accuracy": accuracy})
            print(trials[-1], flush=True)
            if accuracy > best[0]:
                best = accuracy, validation, trials[-1], vectorizer, model, seconds
    _, validation, chosen, vectorizer, model, seconds = best
    settings = {name: chosen[name] for name in (*GRID, "C")}
    described = ", ".join(f"{name}={value!r}" for name, value in settings.items())
    test = evaluate(model, vectorizer.transform(texts["test"]), labels["test"])
    record = {
        "command": "python benchmarks/baseline_language.py",
        "commit": commit(),
        "machine": machine(),
        "versions": {
            "babel": babel_version,
            "python": platform.python_version(),
            "scikit-learn": sklearn.__version__,
        },
        "beside": "cldr_language_lstm",
        "model": f"TfidfVectorizer and LogisticRegression: {described}",
        "parameters": model.coef_.size + model.intercept_.size,
        "examples": {split: len(rows) for split, rows in texts.items()},
        "seeds": [0],
        "seconds": summarize([seconds]),
        "scores": {"validation": validation, "test": test},
        "chosen": settings,
        "trials": trials,
    }
    target = ROOT / "results" / "baseline_cldr_language.json"
    run_folder.write_json(target, record)
    print(f"wrote {target}")


if __name__ == "__main__":
    main()
