import dataclasses
import json

import pytest

from modelzoo.data.folder import ImageFolder
from modelzoo.data.npz import NpzImages
from modelzoo.data.tfds_images import TfdsImages

CONFIGS = [TfdsImages("digits"), ImageFolder("folder"), NpzImages("file.npz")]


@pytest.mark.parametrize("config", CONFIGS, ids=lambda config: type(config).__name__)
@pytest.mark.parametrize(
    "field, value",
    [
        ("image_size", (3, 0)),
        ("image_size", (3,)),
        ("channels", 5),
        ("resize", "squeeze"),
    ],
)
def test_impossible_values_are_refused_by_name(config, field, value):
    with pytest.raises(ValueError, match=rf"^{field} must be .* got"):
        dataclasses.replace(config, **{field: value})


@pytest.mark.parametrize("config", CONFIGS[:2], ids=lambda config: type(config).__name__)
def test_bad_images_are_an_error_or_skipped(config):
    with pytest.raises(ValueError, match=r"^on_bad_image must be .* got 'ignore'"):
        dataclasses.replace(config, on_bad_image="ignore")


@pytest.mark.parametrize("config", CONFIGS, ids=lambda config: type(config).__name__)
def test_configs_survive_json(config):
    values = json.loads(json.dumps(dataclasses.asdict(config)))
    assert type(config)(**values) == config
