"""Scores scikit-learn's logistic regression on the names of `cldr_language_lstm`.

    python benchmarks/baseline_language.py

Its features are tf-idf weights of character n-grams, case kept: it tells. The validation split
chooses the n-grams and C; then the test split is scored once. Writes
`results/baseline_cldr_language.json`.
"""

import itertools
import platform
import time

import numpy as np
import sklearn
from babel import __version__ as babel_version
from record import ROOT, commit, machine, summary
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
STRENGTHS = (30, 100, 300)


def scores(model: LogisticRegression, features, labels: np.ndarray) -> dict[str, dict[str, float]]:
    """What a split scores, as in the records of trainings."""
    given = model.predict_proba(features)
    guess = given.argmax(-1)
    values = {
        "loss": log_loss(labels, given, labels=model.classes_),
        "accuracy": np.mean(guess == labels),
        "macro_f1": f1_score(labels, guess, average="macro"),
    }
    return {name: summary([float(value)]) for name, value in values.items()}


def main() -> None:
    """Chooses, scores and writes."""
    data = configs.get("cldr_language_lstm").data
    spec = data.open("train").spec
    texts, labels = {}, {}
    for split in ("train", "validation", "test"):
        source = data.open(split, spec=spec)
        raw = source.gather(np.arange(source.num_examples))
        texts[split] = [text.decode() for text in raw["text"].numpy()]
        labels[split] = raw["label"].numpy()
    trials, best = [], (0.0,)
    for values in itertools.product(*GRID.values()):
        how = dict(zip(GRID, values, strict=True))
        vectorizer = TfidfVectorizer(**how, sublinear_tf=True)
        features = vectorizer.fit_transform(texts["train"])
        for strength in STRENGTHS:
            start = time.perf_counter()
            model = LogisticRegression(C=strength, max_iter=1000).fit(features, labels["train"])
            seconds = time.perf_counter() - start
            held_out = vectorizer.transform(texts["validation"])
            validation = scores(model, held_out, labels["validation"])
            accuracy = validation["accuracy"]["mean"]
            trials.append({**how, "C": strength, "accuracy": accuracy})
            print(trials[-1], flush=True)
            if accuracy > best[0]:
                best = accuracy, validation, trials[-1], vectorizer, model, seconds
    _, validation, chosen, vectorizer, model, seconds = best
    how = {name: chosen[name] for name in (*GRID, "C")}
    said = ", ".join(f"{name}={value!r}" for name, value in how.items())
    test = scores(model, vectorizer.transform(texts["test"]), labels["test"])
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
        "model": f"TfidfVectorizer and LogisticRegression: {said}",
        "parameters": model.coef_.size + model.intercept_.size,
        "examples": {split: len(rows) for split, rows in texts.items()},
        "seeds": [0],
        "seconds": summary([seconds]),
        "scores": {"validation": validation, "test": test},
        "chosen": how,
        "trials": trials,
    }
    target = ROOT / "results" / "baseline_cldr_language.json"
    run_folder.write_json(target, record)
    print(f"recorded in {target}")


if __name__ == "__main__":
    main()
