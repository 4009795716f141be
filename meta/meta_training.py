"""Meta-training for credit: source rows of mature markets -> theta, and what it is worth on markets it has not seen.

Source markets are split into folds. For each fold a theta is learned on the other folds (pooled rows first, then
episodes), stopped early on the fold's own markets, and adapted to them: that tells how long to train, how levels
spread and how much of an adaptation to keep (``meta.validation``). The final theta is then learned on every source
market with those settings.
"""

import zlib
from collections.abc import Callable, Sequence
from dataclasses import asdict, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from meta.checkpoint import sha256
from meta.distillation import softened_labels
from meta.effects import EffectsPrior, common_slope, jackknife_spread
from meta.episodes import Design, EpisodeSampler
from meta.learners import Learner
from meta.learners.map_bayes import EFFECTS
from meta.learners.protocol import OuterGradient, gradient_by_step
from meta.level import LevelPrior, fit_level, learn_level_prior, logit
from meta.losses import binary_cross_entropy
from meta.pooled import AbsenceTeacher, PooledRows, predict_logits
from meta.progress import Ledger, Progress
from meta.source import SourceTable, assign_folds
from meta.stages import Finished, StageRunner, StageStore
from meta.strength import Strength
from meta.thetas import Theta
from meta.trainer import Schedule
from meta.training_settings import TrainingSettings
from meta.types import Params
from meta.validation import FoldMarkets, Lessons, learn_from_folds

KINDS = ("pooled rows", "episodes")
TRAINING_SUPPORTS: tuple[tuple[Design, int], ...] = (
    ("random", 20),
    ("random", 50),
    ("random", 100),
    ("case_control", 5),
    ("case_control", 12),
    ("case_control", 25),
)


class MetaTraining:
    """One meta-training run, resumable at every saved step."""

    def __init__(self, schema_sha256: str, table: SourceTable, settings: TrainingSettings) -> None:
        self.schema_sha256 = schema_sha256
        self.table = table
        self.settings = settings
        self.device = torch.device(settings.device)
        self.network = settings.learner.network(table.encoder.n_features)
        self.learner: Learner = settings.learner.build(table.encoder.n_features)
        self.folds = assign_folds(table, settings.n_folds, settings.seed)
        self.effects = EffectsPrior.uninformed(table.encoder, table.x)
        self.plans = (settings.pooled_schedule, settings.episodes_schedule)

    def run(
        self,
        on_progress: Callable[[Progress], None],
        store: StageStore | None = None,
        pooled: dict[str, Finished] | None = None,
    ) -> tuple[Theta, dict[str, Any]]:
        """Train; the same seed gives the same theta, resumed or not.

        pooled: stages of pooled rows, taken up where they are there and added where not. They are the same for every
        learner on the same rows, network and seed.
        Raises:  TrainingDiverged, InvalidEpisode.
        """
        ledger = Ledger(self._planned_steps(), on_progress)
        stages = StageRunner(store, self._fingerprint(), ledger)
        stages.finished |= pooled or {}
        everyone = [name for fold in self.folds for name in fold]
        fitted = []
        for number, fold in enumerate(self.folds):
            mature = [name for name in everyone if name not in fold]
            fitted.append(self._learn(stages, f"fold {number + 1} of {len(self.folds)}", mature, fold, self.plans))
        lessons = self._lessons(ledger, [params for params, _ in fitted])
        final = [plan.ending_at(round(np.mean([s[i] for _, s in fitted]))) for i, plan in enumerate(self.plans)]
        for kind, plan, last in zip(KINDS, self.plans, final, strict=True):
            ledger.skip(kind, plan.n_steps - last.n_steps)
        params, _ = self._learn(stages, "all markets", everyone, (), final, lessons)
        params = self._stretched(params, lessons.stretch, everyone)
        if pooled is not None:
            pooled |= {name: done for name, done in stages.finished.items() if name.endswith(KINDS[0])}
        return self._theta(params, lessons), self._report(lessons, final)

    def _learn(
        self,
        stages: StageRunner,
        name: str,
        mature: Sequence[str],
        held_out: Sequence[str],
        schedules: Sequence[Schedule],
        lessons: Lessons | None = None,
    ) -> tuple[Params, tuple[int, int]]:
        """Learn a theta on ``mature`` markets; returns it with the best step of each stage."""
        pooled, pooled_step = self._pooled_stage(stages, name, mature, held_out, schedules[0])
        logits = self.logits_at_rest(pooled)
        start = self._first_theta(pooled, lessons, self._seed_of(name)).params
        sampler = self._sampler(mature, logits)
        validate = self._episode_validation(held_out, logits) if held_out else None
        params, episode_step = stages.run(
            f"{name}: {KINDS[1]}",
            start,
            self._gradient_of_episodes(sampler),
            schedules[1],
            validate,
        )
        return self._centered(params, mature), (pooled_step, episode_step)

    def _centered(self, theta: Params, mature: Sequence[str]) -> Params:
        """Move the bias until theta's PDs are right on average on the rows that it learned from.

        A run that is stopped early ends some tenths of a logit off; a fold's own error of this kind would else pass
        for a trait of its markets, and into the level prior of a theta that has another.
        """
        rows = self.table.rows_of(mature)
        at_rest = self.learner.at_rest(theta)
        by = fit_level(self._network_logits(theta)[rows], self.table.y[rows], mean=0.0, sd=10.0)
        return {name: value + by if value is at_rest["head_b"] else value for name, value in theta.items()}

    def _pooled_stage(
        self, stages: StageRunner, name: str, mature: Sequence[str], held_out: Sequence[str], schedule: Schedule
    ) -> tuple[Params, int]:
        rows = self.table.rows_of(mature)
        y = self.table.y[rows]
        if f"{name}: {KINDS[0]}" not in stages.finished:
            stages.ledger.announce("the teacher of pooled rows")
            y = softened_labels(
                self.table.encoder,
                self.table.x[rows],
                y,
                self.table.market[rows],
                self.settings.teacher_share,
                self.settings.seed,
            )
        return self._run_pooled_stage(stages, name, rows, torch.from_numpy(y).float(), held_out, schedule)

    def _run_pooled_stage(
        self,
        stages: StageRunner,
        name: str,
        rows: NDArray[np.bool_],
        y: torch.Tensor,
        held_out: Sequence[str],
        schedule: Schedule,
    ) -> tuple[Params, int]:
        x = torch.from_numpy(self.table.x[rows])
        owner, absent = (
            torch.from_numpy(a) for a in (self.table.encoder.column_of_slot, self.table.encoder.absence_slots)
        )
        pooled = PooledRows(
            x,
            y,
            self.network,
            AbsenceTeacher.from_rows(x, owner, absent),
            min(self.settings.batch_size, len(x)),
            self.settings.dropout,
            self._seed_of(name),
            self.device,
        )
        start = self.network.init(torch.Generator().manual_seed(self._seed_of(name)))
        start["head_b"] += logit(float(y.mean().clamp(1e-3, 1 - 1e-3)))
        start = {n: v.to(self.device) for n, v in start.items()}
        validate = self._pooled_validation(held_out) if held_out else None
        return stages.run(f"{name}: {KINDS[0]}", start, pooled.gradient_at, schedule, validate)

    def _seed_of(self, name: str) -> int:
        """Each run of pooled rows starts elsewhere: how far folds are apart then tells the luck of the draw, too."""
        return self.settings.seed * 101 + zlib.crc32(name.encode()) % 101

    def _pooled_validation(self, held_out: Sequence[str]) -> Callable[[Params], float]:
        rows = np.flatnonzero(self.table.rows_of(held_out))
        if len(rows) > 6000:
            rows = np.sort(np.random.default_rng(self.settings.seed).choice(rows, 6000, replace=False))
        x = torch.from_numpy(self.table.x[rows]).to(self.device)
        y = torch.from_numpy(self.table.y[rows]).float().to(self.device)

        def validate(weights: Params) -> float:
            logits = predict_logits(self.network, weights, x)
            return float(torch.nn.functional.binary_cross_entropy_with_logits(logits, y))

        return validate

    def _sampler(self, names: Sequence[str], logits: NDArray[np.float64]) -> EpisodeSampler:
        markets = self.table.markets(names, logits)
        rate = float(np.concatenate([m.y for m in markets]).mean())
        # never empty: every market that is dealt into a fold has the rows for the smallest random support
        able = [s for s in TRAINING_SUPPORTS if EpisodeSampler.n_able(markets, s)]
        return EpisodeSampler(
            markets,
            able,
            self.settings.meta_batch,
            self.settings.n_query,
            LevelPrior(base_rate=rate),
            self.settings.seed,
        )

    def _gradient_of_episodes(self, sampler: EpisodeSampler) -> Callable[[Params, int], OuterGradient]:
        outer_grad = gradient_by_step(self.learner, self.settings.outer_steps, compile=self.settings.compile)
        return lambda theta, step: outer_grad(theta, sampler.draw(step).to(self.device), step)

    def _episode_validation(self, held_out: Sequence[str], logits: NDArray[np.float64]) -> Callable[[Params], float]:
        sampler = self._sampler(held_out, logits)
        episodes = [sampler.draw(10**6 + i).to(self.device) for i in range(4)]

        def validate(theta: Params) -> float:
            losses = []
            for episode in episodes:
                fast = self.learner.adapt(theta, episode.support)
                with torch.no_grad():
                    outputs = self.learner.predict(fast, episode.query.x) + episode.query.offset
                    query = episode.query
                    losses.append(float(binary_cross_entropy(outputs.unsqueeze(-1), query.y, query.mask).mean()))
            return float(np.mean(losses))

        return validate

    def _lessons(self, ledger: Ledger, fold_params: Sequence[Params]) -> Lessons:
        ledger.announce("leave-markets-out table")
        folds = self._fold_markets(fold_params)
        level = learn_level_prior([(m.logits, m.y) for fold in folds for m in fold.markets])
        stretch = common_slope([m for fold in folds for m in fold.markets], level)
        mature = [[name for other in self.folds if other is not fold for name in other] for fold in self.folds]
        stretched = [self._stretched(p, stretch, names) for p, names in zip(fold_params, mature, strict=True)]
        folds = self._fold_markets(stretched)
        jackknife_sd = jackknife_spread([self._network_logits(params) for params in stretched])
        return learn_from_folds(folds, jackknife_sd, stretch, self.settings.seed)

    def _stretched(self, theta: Params, by: float, mature: Sequence[str]) -> Params:
        """Multiply the network's logits, members alike, and set its level anew on the rows that it learned from."""
        at_rest = self.learner.at_rest(theta)
        heads = [at_rest[name] for name in self.network.head]
        moved = {n: v * by if any(v is head for head in heads) else v for n, v in theta.items()}
        return self._centered(moved, mature)

    def _fold_markets(self, fold_params: Sequence[Params]) -> list[FoldMarkets]:
        folds = []
        for names, params in zip(self.folds, fold_params, strict=True):
            params = {n: v.cpu() for n, v in params.items()}
            markets = self.table.markets(names, self._network_logits(params))
            folds.append(FoldMarkets(self._theta_of(params), markets))
        return folds

    def _network_logits(self, theta: Params) -> NDArray[np.float64]:
        at_rest = self.learner.at_rest(theta)
        return self.logits_at_rest({name: value for name, value in at_rest.items() if name not in EFFECTS})

    def logits_at_rest(self, weights: Params) -> NDArray[np.float64]:
        """Logits of every source row under network weights, (n_rows,)."""
        x = torch.from_numpy(self.table.x).to(self.device)
        weights = {n: v.to(self.device) for n, v in weights.items()}
        found: NDArray[np.float64] = predict_logits(self.network, weights, x).double().cpu().numpy()
        return found

    def _theta(self, params: Params, lessons: Lessons) -> Theta:
        theta = self._theta_of({n: v.cpu() for n, v in params.items()})
        theta = theta.informed_by(lessons.level_prior, lessons.effects)
        return replace(
            theta,
            strength=lessons.strength,
            reference_row_ids=self._reference_rows(),
            expected=lessons.expected,
        )

    def _first_theta(self, weights: Params, lessons: Lessons | None, seed: int) -> Theta:
        """Start the episodes from pooled weights, with what the folds taught of markets once they have."""
        theta = self._theta_of(self.learner.start_from(weights, torch.Generator().manual_seed(seed)))
        effects = theta.effects if lessons is None else lessons.effects
        return theta.informed_by(LevelPrior(), effects)

    def _theta_of(self, params: Params) -> Theta:
        """A theta that knows nothing yet of how markets differ."""
        table = self.table
        prior, strength = LevelPrior(), Strength((), ())
        settings = self.settings.learner
        return Theta(
            self.schema_sha256,
            settings,
            table.encoder,
            params,
            prior,
            self.effects,
            strength,
            table.profiles,
            imputer=table.imputer,
        )

    def _reference_rows(self, at_most: int = 400) -> tuple[int, ...]:
        """Ids of goods, spread evenly over markets, that can complete a support of defaulters alone."""
        rng = np.random.default_rng(self.settings.seed)
        goods = np.flatnonzero(self.table.y == 0)
        chosen = rng.choice(goods, min(at_most, len(goods)), replace=False)
        return tuple(int(i) for i in np.sort(self.table.row_id[chosen]))

    def _planned_steps(self) -> dict[str, int]:
        runs = len(self.folds) + 1
        return {kind: runs * plan.n_steps for kind, plan in zip(KINDS, self.plans, strict=True)}

    def _fingerprint(self) -> dict[str, Any]:
        content = sha256(self.table.x.tobytes() + self.table.y.tobytes())
        return {"settings": asdict(self.settings), "schema": self.schema_sha256, "rows": content}

    def _learner_report(self) -> dict[str, Any]:
        """The settings as they were used, whether a recipe named them or left them to the learner's usual ones."""
        used = asdict(self.settings.learner) | {"outer_lr": self.settings.outer_lr}
        return {name: used[name] for name in ("learner", "inner_lr", "inner_steps", "outer_lr")}

    def _imputer_report(self) -> dict[str, Any] | None:
        """Which imputer, and what its fit could not do as asked, by column; null: missing is a state of its own."""
        imputer = self.table.imputer
        return None if imputer is None else {"name": imputer.name, "notes": dict(imputer.report)}

    def _report(self, lessons: Lessons, final: Sequence[Schedule]) -> dict[str, Any]:
        return {
            "n_rows": len(self.table.y),
            "n_defaults": int(self.table.y.sum()),
            "n_markets": len(np.unique(self.table.market)),
            "pooled_steps": final[0].n_steps,
            "outer_steps": final[1].n_steps,
            "learner": self._learner_report(),
            "imputer": self._imputer_report(),
            **lessons.report,
        }
