"""Which config fields an override may change after training."""

from collections.abc import Sequence
from typing import Any

from modelzoo.data.bound import TARGET, input_key
from modelzoo.fields.errors import UserError

_ANYWHERE = ("eval.batch_size", "distribute.")


def check_overrides(
    pairs: Sequence[tuple[str, Any]], experiment: Any, exported: bool = False
) -> None:
    """Raises UserError for an override that would change what the model is, or change nothing.

    What was learned from the data, such as a vocabulary, a scale, an image size or classes, is the
    run's. A field of an input or a task may change if its class lists it as `adjustable`, in an
    exported graph only if it lists it as `outside_graph`. `pairs` are dotted keys and values.
    """
    for key, _ in pairs:
        root, _, rest = key.partition(".")
        field = (rest, experiment.task)
        if root == "data" and rest:
            field = _data_field(rest, experiment.data)
        elif key.startswith(_ANYWHERE):
            field = None
            if exported and root == "distribute":
                raise UserError(
                    "an exported model runs on one device: use --strategy and --devices with a run "
                    "or a shipped model"
                )
        elif root != "task":
            raise UserError(
                f"--config.{key} cannot change after training: of the config only config.data.*, "
                "config.task.*, config.eval.batch_size and config.distribute.* can"
            )
        if field is not None:
            _check(key, *field, exported)


def _data_field(rest: str, data: Any) -> tuple[str, Any] | None:
    """The field of an input or the target that a key behind `data.` names, and its config."""
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
