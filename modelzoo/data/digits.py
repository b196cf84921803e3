"""The handwritten digits that scikit-learn carries, as a TFDS data set that needs no network."""

import contextlib
import io
import os
import pathlib
import shutil
import tempfile

import numpy as np
import tensorflow_datasets as tfds

from modelzoo.fields.errors import UserError

_VERSION = "1.0.0"


class Digits(tfds.core.GeneratorBasedBuilder):
    """1,797 grey 8x8 digits (E. Alpaydin and C. Kaynak, UCI 1998), split for good.

    Stratified: 1,257 to train on, 180 to validate, 360 to test.
    """

    VERSION = tfds.core.Version(_VERSION)
    RELEASE_NOTES = {_VERSION: "First release."}

    def _info(self) -> tfds.core.DatasetInfo:
        features = tfds.features.FeaturesDict(
            {
                "image": tfds.features.Image(shape=(8, 8, 1)),
                "label": tfds.features.ClassLabel(num_classes=10),
            }
        )
        return self.dataset_info_from_configs(
            description=self.__doc__,
            features=features,
            supervised_keys=("image", "label"),
            homepage="https://archive.ics.uci.edu/dataset/80",
        )

    def _split_generators(self, dl_manager: tfds.download.DownloadManager) -> dict:
        return {name: self._generate_examples(rows) for name, rows in split_rows().items()}

    def _generate_examples(self, rows: np.ndarray):
        images, labels = load()
        for row in rows:
            yield int(row), {"image": images[row], "label": int(labels[row])}


def load() -> tuple[np.ndarray, np.ndarray]:
    """All digits: uint8 `[1797, 8, 8, 1]`, 0 to 255, and their labels, int64 `[1797]`."""
    # Imported late: it takes a second, and a prepared data set does without.
    from sklearn.datasets import load_digits

    digits = load_digits()
    # 0 to 16 times 255 / 16, rounded.
    images = np.floor(digits.images * (255 / 16) + 0.5).astype(np.uint8)
    return images[..., None], digits.target.astype(np.int64)


def split_rows() -> dict[str, np.ndarray]:
    """The rows of scikit-learn's order in each split, ascending."""
    from sklearn.model_selection import train_test_split

    _, labels = load()
    rest, test = train_test_split(
        np.arange(len(labels)), test_size=360, random_state=0, stratify=labels
    )
    train, validation = train_test_split(rest, test_size=180, random_state=0, stratify=labels[rest])
    return {"train": np.sort(train), "validation": np.sort(validation), "test": np.sort(test)}


def prepare(data_dir: str) -> None:
    """Writes the data set into a TFDS data directory, unless it is there.

    Safe when several processes do it at once: it is built aside and appears whole, by one rename.
    """
    final = pathlib.Path(data_dir, "digits", _VERSION)
    if (final / "dataset_info.json").exists():
        return
    try:
        final.parent.mkdir(parents=True, exist_ok=True)
        aside = tempfile.mkdtemp(prefix=".incomplete-", dir=final.parent)
    except OSError as error:
        raise UserError(
            f"cannot prepare the data set 'digits' in {data_dir}: {error.strerror}; "
            "set config.data.data_dir or TFDS_DATA_DIR to a folder that can be written"
        ) from None
    try:
        tfds.disable_progress_bar()
        with contextlib.redirect_stdout(io.StringIO()):  # it prints about a download
            Digits(data_dir=aside).download_and_prepare()
        os.rename(pathlib.Path(aside, "digits", _VERSION), final)
    except (OSError, RuntimeError) as error:  # TFDS turns TensorFlow's errors into the latter.
        # Another process may have been first: its files are the same.
        if not (final / "dataset_info.json").exists():
            raise UserError(
                f"cannot prepare the data set 'digits' in {data_dir}: {error}"
            ) from None
    finally:
        shutil.rmtree(aside, ignore_errors=True)
