"""Measure the tokens per second of decoding with a Transformer: modelzoo, CTranslate2 and KerasHub.

    pip install ctranslate2==4.8.5 keras-hub
    python benchmarks/decode_translation.py [--sentences=64] [--record]

Each of 64 sentences of 25 random tokens is decoded into 25 tokens, by beam search and by greedy
search. modelzoo runs an exported SavedModel of 4 + 4 layers of 256 with 10,000 tokens; CTranslate2
has the same weights in float32. KerasHub has no encoder-decoder with beam search, so it runs a
decoder of the same size that continues a single token: it neither encodes nor attends to a source.
Each has its own process with as many threads as the machine has cores; the processes run in turns.
Prints the medians over the rounds and their ratios as JSON.
"""

import argparse
import os
import tempfile
import time
from collections.abc import Callable

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("KERAS_BACKEND", "tensorflow")

import interleaved
import numpy as np

LENGTH, VOCABULARY, LAYERS, HIDDEN, INTERMEDIATE, HEADS = 25, 10_001, 4, 256, 1024, 4
PADDING, END = 0, VOCABULARY - 1
BEAMS = (4, 1)


def sources(sentences: int) -> np.ndarray:
    """Random tokens `[sentences, LENGTH]` that end with the end token."""
    tokens = np.random.default_rng(0).integers(2, END, (sentences, LENGTH))
    tokens[:, -1] = END
    return tokens.astype(np.int32)


def build():
    """The model with random weights."""
    import keras

    from modelzoo.fields.input_specs import MaskSpec, TokenSpec
    from modelzoo.models import Transformer

    keras.utils.set_random_seed(0)
    config = Transformer(
        num_encoder_layers=LAYERS,
        num_decoder_layers=LAYERS,
        hidden_dim=HIDDEN,
        intermediate_dim=INTERMEDIATE,
        num_heads=HEADS,
    )
    inputs = {
        "tokens": TokenSpec(VOCABULARY, "padding_mask", LENGTH, "words"),
        "padding_mask": MaskSpec(),
        "decoder/tokens": TokenSpec(
            VOCABULARY, "decoder/padding_mask", LENGTH, "words", decoder=True
        ),
        "decoder/padding_mask": MaskSpec(),
    }
    return config.build(inputs, VOCABULARY)


def ours(sentences: int, beams: int) -> Callable[[], list[list[int]]]:
    """modelzoo's search in a SavedModel."""
    import tensorflow as tf

    from modelzoo.decoding import Decoding
    from modelzoo.decoding.search import search

    model = build()
    decoding = Decoding(beams=beams, min_length=LENGTH - 1)

    @tf.function(input_signature=[tf.TensorSpec([None, None], tf.int32)], autograph=False)
    def decode(source):
        inputs = {"tokens": source, "padding_mask": source != PADDING}
        state = model.start(inputs, beams, LENGTH)
        return search(
            model,
            state,
            decoding,
            start=END,
            end=END,
            pad=PADDING,
            forbidden=(PADDING,),
            capacity=LENGTH,
        )

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
    """The model in the format of CTranslate2."""
    from ctranslate2.specs.common_spec import Activation
    from ctranslate2.specs.transformer_spec import TransformerSpec

    from modelzoo.models.layers.positions import sinusoids

    weights = {variable.path: variable.numpy() for variable in model.variables}
    embeddings = weights["embedding/embeddings"]

    def set_linear(spec, path: str, kind: str = "") -> None:
        spec.weight = np.ascontiguousarray(weights[f"{path}/{kind}kernel"].T)
        if f"{path}/{kind}bias" in weights:
            spec.bias = weights[f"{path}/{kind}bias"]

    def set_norm(spec, path: str) -> None:
        spec.gamma, spec.beta = weights[f"{path}_norm/gamma"], weights[f"{path}_norm/beta"]

    spec = TransformerSpec.from_config(LAYERS, HEADS, pre_norm=False, activation=Activation.RELU)
    spec.encoder.embeddings[0].weight = spec.decoder.embeddings.weight = embeddings
    spec.decoder.projection.weight = embeddings
    for name, stack in ("encoder", spec.encoder), ("decoder", spec.decoder):
        stack.position_encodings.encodings = sinusoids(np.arange(2 * LENGTH), HIDDEN).numpy()
        for number, layer in enumerate(stack.layer, 1):
            path = f"{name}/block{number}"
            set_norm(layer.self_attention.layer_norm, f"{path}/self_attention")
            set_linear(layer.self_attention.linear[0], f"{path}/self_attention", "query_key_value_")
            set_linear(layer.self_attention.linear[1], f"{path}/self_attention", "output_")
            if name == "decoder":
                set_norm(layer.attention.layer_norm, f"{path}/cross_attention")
                for place, kind in enumerate(("query_", "key_value_", "output_")):
                    set_linear(layer.attention.linear[place], f"{path}/cross_attention", kind)
            set_norm(layer.ffn.layer_norm, f"{path}/ffn")
            set_linear(layer.ffn.linear_0, f"{path}/ffn", "inner_")
            set_linear(layer.ffn.linear_1, f"{path}/ffn", "outer_")
    spec.register_source_vocabulary(words)
    spec.register_target_vocabulary(words)
    spec.config.unk_token, spec.config.bos_token = words[1], words[END]
    spec.config.eos_token = spec.config.decoder_start_token = words[END]
    spec.validate()
    return spec


def keras_hub(sentences: int, beams: int) -> Callable[[], list[list[int]]]:
    """KerasHub's GPT-2 with KerasHub's samplers."""
    import keras_hub

    backbone = keras_hub.models.GPT2Backbone(
        vocabulary_size=VOCABULARY,
        num_layers=LAYERS,
        num_heads=HEADS,
        hidden_dim=HIDDEN,
        intermediate_dim=INTERMEDIATE,
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


CONTESTANTS = {"modelzoo": ours, "CTranslate2": ctranslate2, "KerasHub": keras_hub}


def measure(run: Callable[[], list[list[int]]]) -> tuple[float, float, list[list[int]]]:
    """Elapsed seconds and CPU seconds of a run, and its tokens."""
    start, cpu_start = time.perf_counter(), time.process_time()
    tokens = run()
    return time.perf_counter() - start, time.process_time() - cpu_start, tokens


def main() -> None:
    """Measures and prints the rates."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--sentences", type=int, default=64)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--record", action="store_true", help="write the rates to results/")
    parser.add_argument("--worker", choices=CONTESTANTS, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.worker:
        runs = {beams: CONTESTANTS[args.worker](args.sentences, beams) for beams in BEAMS}
        return interleaved.answer_requests(lambda beams: measure(runs[beams]))
    rates, cpu = ({beams: {name: [] for name in CONTESTANTS} for beams in BEAMS} for _ in range(2))
    found = {}
    with interleaved.start_workers(list(CONTESTANTS), f"--sentences={args.sentences}") as workers:
        for round_ in range(args.rounds + 1):  # The first round traces the functions.
            for beams in BEAMS:
                for worker in workers:
                    seconds, cpu_seconds, tokens = worker.ask(beams)
                    found[worker.name, beams] = np.array(tokens)
                    assert found[worker.name, beams].shape == (args.sentences, LENGTH)
                    if round_:
                        rates[beams][worker.name].append(args.sentences * LENGTH / seconds)
                        cpu[beams][worker.name].append(cpu_seconds)
    medians = {f"beam {beams}": interleaved.compute_medians(rates[beams]) for beams in BEAMS}
    # CTranslate2 forces no end token, so its last token differs.
    same = [found[name, 1][:, : LENGTH - 1] for name in ("modelzoo", "CTranslate2")]
    interleaved.report(
        f"speed_decoding_{args.sentences}",
        ("tensorflow", "keras", "ctranslate2", "keras-hub"),
        {
            "sentences": args.sentences,
            "decoded_tokens_per_second": medians,
            "core_seconds": {
                f"beam {beams}": interleaved.compute_medians(cpu[beams], 3) for beams in BEAMS
            },
            "same_greedy_tokens_as_ctranslate2": round(float(np.mean(same[0] == same[1])), 4),
            "ratio": {
                search: interleaved.compute_ratios(rates) for search, rates in medians.items()
            },
        },
        args.record,
    )


if __name__ == "__main__":
    main()
