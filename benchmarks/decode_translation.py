"""Tokens a second of decoding with a Transformer: ours, CTranslate2 and KerasHub.

    pip install ctranslate2==4.8.5 keras-hub
    python benchmarks/decode_translation.py [--sentences=64] [--record]

64 sentences of 25 random tokens become 25 tokens each, by beam search and greedily. Ours is an
exported SavedModel of 4 + 4 layers of 256 and 10,000 tokens; CTranslate2 has the very same weights
in float32. KerasHub, which has no such model with a beam search, has a decoder alone of the same
size, and decodes as many tokens from a first one: it neither encodes nor attends to a source. Each
has a process of its own, with all of the machine's threads; they run in turns. Medians over the
rounds and ratios come as JSON.
"""

import argparse
import os
import tempfile
import time
from collections.abc import Callable

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("KERAS_BACKEND", "tensorflow")

import numpy as np
import turns

LENGTH, VOCABULARY, LAYERS, DIM, FFN, HEADS = 25, 10_001, 4, 256, 1024, 4
END = VOCABULARY - 1
BEAMS = (4, 1)


def sources(sentences: int) -> np.ndarray:
    """Tokens `[sentences, LENGTH]`, the end token last."""
    tokens = np.random.default_rng(0).integers(2, END, (sentences, LENGTH))
    tokens[:, -1] = END
    return tokens.astype(np.int32)


def build():
    """The model, of random weights."""
    import keras

    from modelzoo.fields.input_specs import PairTokens
    from modelzoo.models.transformer import Transformer

    keras.utils.set_random_seed(0)
    config = Transformer(
        encoder_layers=LAYERS, decoder_layers=LAYERS, dim=DIM, ffn_dim=FFN, heads=HEADS
    )
    return config.build(PairTokens(VOCABULARY, VOCABULARY, True, LENGTH, LENGTH), VOCABULARY)


def ours(sentences: int, beams: int) -> Callable[[], list[list[int]]]:
    """The function of a SavedModel."""
    import tensorflow as tf

    from modelzoo.decoding.config import Decoding
    from modelzoo.decoding.search import search

    model = build()
    decoding = Decoding(beams=beams, min_length=LENGTH - 1)

    @tf.function(input_signature=[tf.TensorSpec([None, None], tf.int32)], autograph=False)
    def decode(source):
        state = model.start(source, beams, LENGTH)
        return search(model, state, decoding, start=END, end=END, capacity=LENGTH)

    module = tf.Module()
    module.model, module.decode = model, decode
    with tempfile.TemporaryDirectory() as folder:
        tf.saved_model.save(module, folder)
        loaded = tf.saved_model.load(folder)
    source = tf.constant(sources(sentences))
    return lambda: loaded.decode(source)[0][:, 0].numpy().tolist()


def ctranslate2(sentences: int, beams: int) -> Callable[[], list[list[int]]]:
    """CTranslate2 with the weights of `build`."""
    import ctranslate2

    words = [f"w{number}" for number in range(VOCABULARY)]
    with tempfile.TemporaryDirectory() as folder:
        _converted(build(), words).save(folder)
        translator = ctranslate2.Translator(
            folder, device="cpu", compute_type="float32", intra_threads=os.cpu_count()
        )
    tokens = [[words[token] for token in source] for source in sources(sentences)]

    def run() -> list[list[int]]:
        found = translator.translate_batch(
            tokens,
            beam_size=beams,
            min_decoding_length=LENGTH,
            max_decoding_length=LENGTH,
            length_penalty=0,
            max_batch_size=sentences,
        )
        return [[int(word[1:]) for word in result.hypotheses[0]] for result in found]

    return run


def _converted(model, words: list[str]):
    """The model as CTranslate2's specification."""
    from ctranslate2.specs.common_spec import Activation
    from ctranslate2.specs.transformer_spec import TransformerSpec

    from modelzoo.models.layers.positions import sinusoids

    weights = {variable.path: variable.numpy() for variable in model.variables}
    embeddings = weights["embedding/embeddings"]

    def linear(spec, path: str, kind: str = "") -> None:
        spec.weight = np.ascontiguousarray(weights[f"{path}/{kind}kernel"].T)
        if f"{path}/{kind}bias" in weights:
            spec.bias = weights[f"{path}/{kind}bias"]

    def norm(spec, path: str) -> None:
        spec.gamma, spec.beta = weights[f"{path}_norm/gamma"], weights[f"{path}_norm/beta"]

    spec = TransformerSpec.from_config(LAYERS, HEADS, pre_norm=False, activation=Activation.RELU)
    spec.encoder.embeddings[0].weight = spec.decoder.embeddings.weight = embeddings
    spec.decoder.projection.weight = embeddings
    for name, stack in ("encoder", spec.encoder), ("decoder", spec.decoder):
        stack.position_encodings.encodings = sinusoids(np.arange(2 * LENGTH), DIM).numpy()
        for number, layer in enumerate(stack.layer, 1):
            path = f"{name}/block{number}"
            norm(layer.self_attention.layer_norm, f"{path}/self_attention")
            linear(layer.self_attention.linear[0], f"{path}/self_attention", "query_key_value_")
            linear(layer.self_attention.linear[1], f"{path}/self_attention", "output_")
            if name == "decoder":
                norm(layer.attention.layer_norm, f"{path}/cross_attention")
                for place, kind in enumerate(("query_", "key_value_", "output_")):
                    linear(layer.attention.linear[place], f"{path}/cross_attention", kind)
            norm(layer.ffn.layer_norm, f"{path}/ffn")
            linear(layer.ffn.linear_0, f"{path}/ffn", "inner_")
            linear(layer.ffn.linear_1, f"{path}/ffn", "outer_")
    spec.register_source_vocabulary(words)
    spec.register_target_vocabulary(words)
    spec.config.unk_token, spec.config.bos_token = words[1], words[END]
    spec.config.eos_token = spec.config.decoder_start_token = words[END]
    spec.validate()
    return spec


def keras_hub(sentences: int, beams: int) -> Callable[[], list[list[int]]]:
    """KerasHub's GPT-2 with its own sampler."""
    import keras_hub

    backbone = keras_hub.models.GPT2Backbone(
        vocabulary_size=VOCABULARY,
        num_layers=LAYERS,
        num_heads=HEADS,
        hidden_dim=DIM,
        intermediate_dim=FFN,
        max_sequence_length=LENGTH + 1,
    )
    model = keras_hub.models.GPT2CausalLM(backbone, preprocessor=None)
    samplers = keras_hub.samplers
    model.compile(sampler=samplers.BeamSampler(beams) if beams > 1 else samplers.GreedySampler())
    tokens = np.zeros((sentences, LENGTH + 1), np.int32)
    tokens[:, 0] = END
    first = {"token_ids": tokens, "padding_mask": tokens > 0}

    def run() -> list[list[int]]:
        return np.asarray(model.generate(first, stop_token_ids=None)["token_ids"])[:, 1:].tolist()

    return run


KINDS = {"modelzoo": ours, "CTranslate2": ctranslate2, "KerasHub": keras_hub}


def timed(run: Callable[[], list[list[int]]]) -> tuple[float, float, list[list[int]]]:
    """Seconds that a run took, seconds of all cores, and its tokens."""
    began, busy = time.perf_counter(), time.process_time()
    tokens = run()
    return time.perf_counter() - began, time.process_time() - busy, tokens


def main() -> None:
    """Measures and prints."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--sentences", type=int, default=64)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--record", action="store_true", help="keep the figures in results/")
    parser.add_argument("--worker", choices=KINDS, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.worker:
        runs = {beams: KINDS[args.worker](args.sentences, beams) for beams in BEAMS}
        return turns.answer(lambda beams: timed(runs[beams]))
    rates, busy = ({beams: {kind: [] for kind in KINDS} for beams in BEAMS} for _ in range(2))
    found = {}
    with turns.workers(list(KINDS), f"--sentences={args.sentences}") as workers:
        for round_ in range(args.rounds + 1):  # The first traces and fills caches.
            for beams in BEAMS:
                for worker in workers:
                    seconds, cores, tokens = worker.ask(beams)
                    found[worker.kind, beams] = np.array(tokens)
                    assert found[worker.kind, beams].shape == (args.sentences, LENGTH)
                    if round_:
                        rates[beams][worker.kind].append(args.sentences * LENGTH / seconds)
                        busy[beams][worker.kind].append(cores)
    medians = {f"beam {beams}": turns.medians(rates[beams]) for beams in BEAMS}
    # CTranslate2 does not force an end, so that its last token is another.
    same = [found[kind, 1][:, : LENGTH - 1] for kind in ("modelzoo", "CTranslate2")]
    turns.report(
        f"speed_decoding_{args.sentences}",
        ("tensorflow", "keras", "ctranslate2", "keras-hub"),
        {
            "sentences": args.sentences,
            "decoded_tokens_per_second": medians,
            "core_seconds": {f"beam {beams}": turns.medians(busy[beams], 3) for beams in BEAMS},
            "same_greedy_tokens_as_ctranslate2": round(float(np.mean(same[0] == same[1])), 4),
            "ratio": {search: turns.ratios(rates) for search, rates in medians.items()},
        },
        args.record,
    )


if __name__ == "__main__":
    main()
