"""Settings of one meta-training, and the schedules of its two stages."""

from dataclasses import dataclass

import torch

from meta.errors import InvalidRecipe
from meta.thetas import LearnerSettings
from meta.trainer import Schedule


@dataclass(frozen=True)
class TrainingSettings:
    """Settings of one meta-training; steps are upper bounds, shortened by early stopping on held-out markets."""

    learner: LearnerSettings
    seed: int = 0
    n_folds: int = 3
    pooled_steps: int = 600
    pooled_lr: float = 0.015
    batch_size: int = 512
    dropout: float = 0.2
    teacher_share: float = 0.5
    outer_steps: int = 60
    outer_lr: float = 1e-3
    meta_batch: int = 8
    n_query: int = 64
    device: str = "cpu"
    compile: bool = False

    def __post_init__(self) -> None:
        if self.n_folds < 2:
            raise InvalidRecipe(f"n_folds must be at least 2, got {self.n_folds}")
        if self.device.startswith("cuda") and not torch.cuda.is_available():
            raise InvalidRecipe(f"device {self.device!r} was asked for, but this machine has no CUDA device")

    @property
    def pooled_schedule(self) -> Schedule:
        return Schedule(
            self.pooled_steps,
            self.pooled_lr,
            weight_decay=0.01,
            validate_every=50,
            patience=4,
            warmup=30,
            averaging=0.99,
        )

    @property
    def episodes_schedule(self) -> Schedule:
        return Schedule(self.outer_steps, self.outer_lr, validate_every=20, patience=3, warmup=5, averaging=0.9)
