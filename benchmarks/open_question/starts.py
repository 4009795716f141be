"""What fine-tuning starts from: weights learned on the source markets, by pooled rows alone or by episodes after them.

One training gives both: the service's own, with MAML as the learner. Its last stage of pooled rows is kept aside, so
that the two starts have seen the same rows in the same order and differ by the episodes alone.
"""

import json
import time
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch

from app.domain.recipes import ThetaRecipe
from app.engine.contract import Artifact, ProgressEvent
from app.engine.training import train_theta
from benchmarks.few_shot.data import Rows, schema_of
from meta.checkpoint import pack, sha256, unpack
from meta.features import Encoder
from meta.level import fit_level
from meta.nets import Ensemble
from meta.pooled import predict_logits
from meta.stages import DIGEST
from meta.thetas import Theta
from meta.types import Params

OUTER_STEPS = 300  # meta-batches of eight tasks, at most: the folds' held-out markets say how many
POOLED_STAGE = "finished|all markets: pooled rows|"


@dataclass(frozen=True)
class Start:
    """A network to fine-tune, the spread of a market's level (logits), and the processor seconds that it cost."""

    encoder: Encoder
    network: Ensemble
    weights: Params
    level_sd: float
    seconds: float


@dataclass(frozen=True)
class Learned:
    """A stored theta, the network of its pooled stage (packed), and what each cost: processor seconds, folds included.

    steps: of the final run, as the folds asked for.
    """

    artifact: Artifact
    pooled: bytes
    seconds: float
    pooled_seconds: float
    pooled_steps: int
    outer_steps: int


def learn(source: Rows, recipe: ThetaRecipe, file: Path) -> Learned:
    """Train a theta, or read the one that is in ``file``."""
    record, pooled_file = file.with_suffix(".json"), file.with_suffix(".pooled")
    if not record.exists():
        watch = _Watch()
        frame = source.features.assign(row_id=np.arange(len(source)), market=source.market, defaulted=source.y == 1.0)
        trained = train_theta(schema_of(source.features), frame, recipe, on_progress=watch, checkpoints=watch)
        watch.count()
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(trained.artifact.weights)
        pooled_file.write_bytes(pack(watch.pooled_weights(), {}))
        steps = {key: trained.report[key] for key in ("pooled_steps", "outer_steps")}
        seconds = sum(watch.seconds.values())
        told = {"seconds": seconds, "pooled_seconds": seconds - watch.seconds["episodes"], **steps}
        record.write_text(json.dumps(told))
    weights = file.read_bytes()
    return Learned(Artifact(weights, sha256(weights)), pooled_file.read_bytes(), **json.loads(record.read_text()))


def starts_of(learned: Learned, source: Rows) -> tuple[Start, Start]:
    """The pooled start and the meta-learned one of a gradient-based learner; both right on average on source rows."""
    theta = Theta.unpack(learned.artifact.weights, learned.artifact.sha256, schema_of(source.features).sha256())
    network = theta.settings.network(theta.encoder.n_features)
    pooled, _ = unpack(learned.pooled, sha256(learned.pooled))
    x = torch.from_numpy(theta.encoder.encode(source.features))
    shift = fit_level(predict_logits(network, pooled, x).double().numpy(), source.y, mean=0.0, sd=10.0)
    pooled = pooled | {"head_b": pooled["head_b"] + shift}
    sd = theta.level_prior.sd
    return (
        Start(theta.encoder, network, pooled, sd, learned.pooled_seconds),
        Start(theta.encoder, network, {n: theta.params[n] for n in pooled}, sd, learned.seconds),
    )


@dataclass
class _Watch:
    """Hears a training: processor seconds by kind of stage, and the latest checkpoint."""

    seconds: dict[str, float] = field(default_factory=lambda: {"episodes": 0.0, "other": 0.0})
    state: bytes | None = None
    _kind: str = "other"
    _since: float = field(default_factory=time.process_time)

    def __call__(self, event: ProgressEvent) -> None:
        kind = "episodes" if event.phase.endswith("episodes") else "other"
        self.count(kind)
        self._kind = kind

    def count(self, kind: str | None = None) -> None:
        """Book the time since the last call; that of a new kind's first step counts for it."""
        now = time.process_time()
        self.seconds[kind or self._kind] += now - self._since
        self._since = now

    def save(self, state: bytes) -> None:
        self.state = state

    def load(self) -> bytes | None:
        return None

    def pooled_weights(self) -> Params:
        assert self.state is not None
        tensors, _ = unpack(self.state[DIGEST:], self.state[:DIGEST].decode("ascii"))
        return {name.removeprefix(POOLED_STAGE): v for name, v in tensors.items() if name.startswith(POOLED_STAGE)}
