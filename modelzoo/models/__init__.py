"""Model families, one per file; they depend on neither data nor distribution strategies."""

from typing import TYPE_CHECKING

from modelzoo.fields.lazy import lazy_names

if TYPE_CHECKING:
    from modelzoo.models.cnn import CNN as CNN
    from modelzoo.models.encoder import Encoder as Encoder
    from modelzoo.models.lstm import LSTM as LSTM
    from modelzoo.models.lstm_seq2seq import LSTMSeq2Seq as LSTMSeq2Seq
    from modelzoo.models.recurrent_cnn import RecurrentCNN as RecurrentCNN
    from modelzoo.models.resnet import ResNet as ResNet
    from modelzoo.models.transformer import Transformer as Transformer
else:
    __getattr__, __dir__, __all__ = lazy_names(__name__, __file__)
