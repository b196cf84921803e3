"""The config fields that can be overridden after training."""

from collections.abc import Sequence
from typing import Any

from modelzoo.data.bound import TARGET, input_key
from modelzoo.fields.errors import UserError

_ANYWHERE = ("eval.batch_size", "distribute.")


def check_overrides(
    pairs: Sequence[tuple[str, Any]], experiment: Any, exported: bool = False
) -> None:
    """Checks that overrides are possible after training.

    A model keeps what it learned from the data, such as a vocabulary, a scale, an image size or
    classes. A field of an input or a task can be overridden if its class lists it in `adjustable`,
    for an exported graph only if it lists it in `outside_graph`.

    Args:
        pairs: dotted keys and values.
        experiment: the trained experiment.
        exported: whether the model is an exported graph.

    Raises:
        UserError: an override would change the model, or would have no effect.
    """
    for key, _ in pairs:
        root, _, rest = key.partition(".")
        field: tuple[str, Any] | None = (rest, experiment.task)
        if key == "data.fold":
            raise UserError(
                "--config.data.fold cannot change after training, or a model would be evaluated on "
                "what it learned from: use the run of that fold, such as --workdir=RUN/fold2"
            )
        if root == "data" and rest:
            field = _data_field(rest, experiment.data)
        elif key.startswith(_ANYWHERE):
            field = None
            if exported and root == "distribute":
                raise UserError(
                    "an exported model runs on one device: use --strategy and --devices only with "
                    "a run or a shipped model"
                )
        elif root != "task":
            raise UserError(
                f"--config.{key} cannot change after training, only config.data.*, config.task.*, "
                "config.eval.batch_size and config.distribute.* can"
            )
        if field is not None:
            _check(key, *field, exported)


def _data_field(rest: str, data: Any) -> tuple[str, Any] | None:
    """Returns the field of an input or the target, and its config, for a key after `data.`."""
    named = [(input_key(name), one) for name, one in data.named_inputs.items()]
    for prefix, one in [*named, (TARGET, data.target)]:
        if rest == prefix or rest.startswith(f"{prefix}."):
            return rest.removeprefix(prefix).removeprefix("."), one
    return None


def _check(key: str, field: str, owner: Any, exported: bool) -> None:
    name = field.partition(".")[0]
    if name == "columns":
        return
    adjustable = getattr(type(owner), "adjustable", ())
    outside = getattr(type(owner), "outside_graph", ())
    if name in outside or (name in adjustable and not exported):
        return
    if name in adjustable:
        raise UserError(
            f"--config.{key} is part of an exported graph: export the run again with it"
        )
    can = ", ".join(dict.fromkeys((*adjustable, *outside)))
    raise UserError(
        f"--config.{key} cannot change after training, the run's own is used; "
        + (f"of {type(owner).__name__} only {can} can" if can else "train again to change it")
    )
