import sys
import types
import xml.etree.ElementTree as ET

import numpy as np
import pairs
import pytest
import tensorflow as tf
from bound_data import image_data
from matplotlib import font_manager
from PIL import Image

from modelzoo.cli import attention as command
from modelzoo.cli.main import run
from modelzoo.decoding import Decoding
from modelzoo.explain.attention import AttentionMap, check_output, compute_attention_map, draw
from modelzoo.fields.errors import UserError
from modelzoo.models import LSTMSeq2Seq
from modelzoo.tasks import TextToText

BLUE = (8, 48, 107)  # The darkest.


def shown(layers=1, heads=1, source=("a", "b", "c"), output=("x", "y", "</s>")):
    shape = (layers, heads, len(output), len(source))
    weights = np.random.default_rng(0).random(shape)
    return AttentionMap(source, output, weights / weights.sum(axis=-1, keepdims=True))


def predictor(model, **decoding):
    """A model of random weights on its task, as a `Predictor` holds them."""
    task = TextToText(decoding=Decoding(**decoding)).bind(pairs.pair_data())
    net = task.build_model(model)
    rng = np.random.default_rng(5)
    for v in net.weights:
        v.assign(rng.normal(0, 0.7, v.shape))
    return types.SimpleNamespace(task=task, model=net, origin="model")


LSTM = LSTMSeq2Seq(embedding_dim=4, units=3)


def test_the_map_shows_the_decoded_tokens():
    beam = predictor(LSTM, beams=3, n_best=2)
    found = compute_attention_map(beam, "bee zebra ant")
    assert found.source == ("bee", "<unk>", "ant", "</s>")
    source = beam.task.data.features({"text": tf.constant(["bee zebra ant"])}, training=False)
    outputs = beam.task.objective.outputs(beam.model, source)
    text = beam.task.serving.to_serving(outputs)["texts"][0, 0].numpy().decode()
    assert found.output[-1] == "</s>" and " ".join(found.output[:-1]).replace("<unk>", "⁇") == text
    assert found.weights.shape == (1, 1, len(found.output), 4)
    # The attention that cached steps add up, token by token.
    state = beam.model.start(source, 1, 9, coverage=True)
    tokens = [
        beam.task.data.target.ids.end,
        *outputs["tokens"][0, 0].numpy()[: len(found.output) - 1],
    ]
    before = 0.0
    for token, weights in zip(tokens, found.weights[0, 0], strict=True):
        _, state = beam.model.step(tf.fill((1, 1), int(token)), state)
        np.testing.assert_allclose(weights, state["beams"]["coverage"][0, 0] - before, atol=1e-5)
        before = state["beams"]["coverage"][0, 0]
    # An empty text has the end token only.
    assert compute_attention_map(beam, "").source == ("</s>",)


def test_a_panel_for_each_or_their_mean():
    found = shown(layers=2, heads=3)
    ((title, mean),) = found.panels().items()
    assert title == "mean of 2 layers, mean of 3 heads"
    np.testing.assert_allclose(mean, found.weights.mean(axis=(0, 1)))
    ((title, one),) = found.panels(2, 3).items()
    assert title == "layer 2, head 3"
    np.testing.assert_array_equal(one, found.weights[1, 2])
    each = found.panels("all", "all")
    assert list(each)[:4] == [f"layer 1, head {k}" for k in (1, 2, 3)] + ["layer 2, head 1"]
    np.testing.assert_array_equal(each["layer 2, head 1"], found.weights[1, 0])
    by_layer = found.panels("all")
    np.testing.assert_array_equal(by_layer["layer 2, mean of 3 heads"], found.weights[1].mean(0))
    assert list(shown().panels()) == [""]
    for layer, head, says in (
        (3, 1, "^--layer must be from 1 to 2, the number of layers, got 3$"),
        (0, 1, "^--layer must be from 1 to 2, .* got 0$"),
        ("all", 4, "^--head must be from 1 to 3, the number of heads, got 4$"),
    ):
        with pytest.raises(UserError, match=says):
            found.panels(layer, head)


def test_png_cells_are_the_weights(tmp_path):
    found = AttentionMap(("a", "b", "c"), ("x", "y", "</s>"), np.eye(3)[None, None, [1, 0, 2]])
    assert draw(found, tmp_path / "map.png") == ""
    pixels = np.array(Image.open(tmp_path / "map.png").convert("RGB"))
    # The map is left of the colours' bar, which holds the darkest too.
    dark = (pixels == BLUE).all(axis=-1)[:, : int(pixels.shape[1] * 0.75)]
    rows = np.flatnonzero(dark.any(axis=1))
    thirds = np.array_split(np.arange(rows[0], rows[-1] + 1), 3)
    centres = [np.flatnonzero(dark[part].sum(axis=0) > len(part) / 2).mean() for part in thirds]
    assert centres[1] < centres[0] < centres[2]


def test_svg_holds_texts(tmp_path):
    found = shown(2, 2, ("▁ein", " ", "$x$", "a<b", "日本"), ("שלום", "\n", "\x07", "</s>"))
    assert draw(found, tmp_path / "map.svg", layer="all") == ""
    again = tmp_path / "again.svg"
    draw(found, again, layer="all")
    assert (tmp_path / "map.svg").read_bytes() == again.read_bytes()
    assert not list(tmp_path.glob("*.partial"))
    texts = [e.text for e in ET.parse(again).iter("{http://www.w3.org/2000/svg}text")]
    source, output = ["▁ein", "␣", "$x$", "a<b", "日本"], ["שלום", "↵", "\\x07", "</s>"]
    first = [*source, *output, "layer 1, mean of 2 heads"]
    assert sorted(texts[:10]) == sorted(first)
    assert texts[:5] == source
    assert "layer 2, mean of 2 heads" in texts[10:20]


def test_characters_without_a_font_are_returned(tmp_path, monkeypatch, recwarn):
    listed = [f for f in font_manager.fontManager.ttflist if f.name == "DejaVu Sans"]
    monkeypatch.setattr(font_manager.fontManager, "ttflist", listed)
    found = shown(output=("ж", "本日", "</s>"))
    assert draw(found, tmp_path / "map.png") == "日本"
    # A viewer of an SVG may have other fonts.
    assert draw(found, tmp_path / "map.svg") == ""
    assert not [w for w in recwarn if "lyph" in str(w.message)]


def test_long_maps_are_large(tmp_path):
    names = tuple(f"word{k}" for k in range(40))
    sizes = []
    for count in (5, 40):
        draw(shown(source=names[:count], output=names[:count]), tmp_path / "map.png")
        sizes.append(Image.open(tmp_path / "map.png").size)
    assert 300 < sizes[0][0] < 800
    # Each token has space for its name in letters of 10 points at 144 dots an inch.
    assert sizes[1][1] > 40 * 1.2 * 10 / 72 * 144


def test_what_cannot_be_drawn_is_one_line(tmp_path, monkeypatch):
    with pytest.raises(UserError, match=r"^--output must end with .png or .svg, got map.jpg$"):
        check_output("map.jpg")
    with pytest.raises(UserError, match="the folder .*none does not exist$"):
        check_output(tmp_path / "none" / "map.svg")
    (tmp_path / "map.svg").mkdir()
    with pytest.raises(UserError, match="^cannot write .*map.svg: Is a directory"):
        draw(shown(), tmp_path / "map.svg")
    images = types.SimpleNamespace(data=image_data((4, 4, 1), ("a", "b")))
    for task, model, says in (
        (images, object(), "^attention needs a text-to-text model, model reads images 4x4x1"),
        (
            predictor(LSTM).task,
            None,
            "^the exported model model has no attention weights: set --workdir",
        ),
    ):
        given = types.SimpleNamespace(task=task, model=model, origin="model")
        with pytest.raises(UserError, match=says):
            compute_attention_map(given, "ant")
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(UserError, match=r"pip install 'modelzoo\[plots\]'$"):
        check_output("map.svg")


@pytest.mark.parametrize("model", [pairs.TINY, LSTM], ids=["transformer", "lstm"])
def test_the_command_draws(model, tmp_path, monkeypatch, capsys):
    held = predictor(model)
    chosen = {}

    def open_model(**flags):
        chosen.update(flags)
        return held

    monkeypatch.setattr("modelzoo.inference.predictor.open_model", open_model)
    output = tmp_path / "map.svg"
    words = ["--workdir=run", "--text=ant bee", f"--output={output}", "--layer=1", "--head=all"]
    assert run(command, words) == 0
    assert capsys.readouterr().out == f"{output}\n"
    assert chosen["workdir"] == "run"
    texts = [e.text for e in ET.parse(output).iter("{http://www.w3.org/2000/svg}text")]
    assert texts[:3] == ["ant", "bee", "</s>"] and "layer 1, head 1" in texts
    assert ("layer 1, head 2" in texts) == (model is pairs.TINY)
    assert run(command, [*words[:-1], "--head=0"]) == 1
    assert "--head must be from 1" in capsys.readouterr().err
