"""Plot the attention weights of a text-to-text model for one text."""

import sys
from collections.abc import Sequence

from absl import flags

from modelzoo.cli import flags as shared
from modelzoo.cli.main import run

FLAGS = shared.Flags()
shared.trained_model(
    FLAGS,
    """\
Set fields of the task by --config.KEY=VALUE, such as --config.task.decoding.beams=5.""",
)
flags.DEFINE_string("text", None, "The source text.", flag_values=FLAGS, required=True)
shared.path(
    FLAGS,
    "output",
    "File of the picture; its suffix, .png or .svg, selects the format.",
    required=True,
)


class _ChoiceParser(flags.ArgumentParser):
    syntactic_help = "a number from 1, mean or all"

    def parse(self, argument: str | int) -> str | int:
        if argument in ("mean", "all"):
            return argument
        try:
            return int(argument)
        except ValueError:
            raise ValueError(f"must be {self.syntactic_help}") from None


for _name in ("layer", "head"):
    flags.DEFINE(
        _ChoiceParser(),
        _name,
        "mean",
        f"Number of a {_name}, from 1; mean, over all; or all, one panel each.",
        flag_values=FLAGS,
    )


def main(argv: Sequence[str]) -> None:
    """Draws the picture and prints its path."""
    del argv
    from modelzoo.explain.attention import check_output, compute_attention_map, draw
    from modelzoo.inference.predictor import open_model

    check_output(FLAGS.output)
    attention = compute_attention_map(open_model(**shared.chosen_model(FLAGS)), FLAGS.text)
    missing = draw(attention, FLAGS.output, FLAGS.layer, FLAGS.head)
    if missing:
        print(
            f"no installed font has {missing}: write an SVG, which a viewer draws in its own fonts",
            file=sys.stderr,
        )
    print(FLAGS.output)


if __name__ == "__main__":
    sys.exit(run(sys.modules[__name__]))
