"""modelzoo: Keras 3 models trained under tf.distribute with one device's results."""

from typing import TYPE_CHECKING

from modelzoo.fields.lazy import lazy_names

__version__ = "0.1.0"

if TYPE_CHECKING:
    # The folder configs/ is installed as modelzoo.configs.
    from modelzoo import configs as configs  # type: ignore[attr-defined]
    from modelzoo.config.experiment import Experiment as Experiment
    from modelzoo.distribution.strategy import DistributeConfig as DistributeConfig
    from modelzoo.fields.errors import UserError as UserError
    from modelzoo.inference.predictor import load as load
    from modelzoo.runs.evaluate import evaluate as evaluate
    from modelzoo.runs.train import train as train
    from modelzoo.serving.saved_model import ExportConfig as ExportConfig
    from modelzoo.training.config import EvalConfig as EvalConfig
    from modelzoo.training.config import TrainConfig as TrainConfig
    from modelzoo.training.curve import curve as curve
else:
    __getattr__, __dir__, __all__ = lazy_names(__name__, __file__, ("UserError", "configs"))
