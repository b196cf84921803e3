"""What the data knows and a model, a task and an exported graph need to know."""

import dataclasses


@dataclasses.dataclass(frozen=True)
class ImageSpec:
    """Size of the images that a model sees, how others are brought to it, and the classes.

    `resize` is "crop" (shorter side to the size, then the centre) or "stretch".
    """

    height: int
    width: int
    channels: int
    class_names: tuple[str, ...]
    resize: str = "crop"

    @property
    def shape(self) -> tuple[int, int, int]:
        """`(height, width, channels)`."""
        return (self.height, self.width, self.channels)

    @property
    def num_classes(self) -> int:
        """Number of classes."""
        return len(self.class_names)

    def to_dict(self) -> dict:
        """The fields as JSON values."""
        return dataclasses.asdict(self)

    @classmethod
    def from_dict(cls, values: dict) -> "ImageSpec":
        """Rebuilds a spec from `to_dict`'s values."""
        return cls(**{**values, "class_names": tuple(values["class_names"])})
