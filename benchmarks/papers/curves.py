"""Who takes part in the regression problems, each set up as its paper says."""

from dataclasses import replace

from benchmarks.papers.networks import SmallStartMlp
from benchmarks.papers.problem import ANNEALING_SHARE, Contestant, Figure, Problem
from benchmarks.papers.regression import Sinusoids, SinusoidsAndLines, mean_squared_error
from meta.learners.anil import Anil
from meta.learners.cavia import Cavia
from meta.learners.leo import LeoRegression
from meta.learners.maml import Maml
from meta.learners.maml_plus_plus import MamlPlusPlus
from meta.learners.meta_sgd import MetaSgd
from meta.learners.neural_process import NeuralProcess
from meta.learners.reptile import Reptile
from meta.losses import squared_error
from meta.nets import Mlp

NETWORK = Mlp(1, (40, 40), 1)
SMALL_START = SmallStartMlp(1, (40, 40), 1)
EMBEDDING = Mlp(1, (40, 40), 40)
AUTHORS_STEPS = 70_000
STEPS = 10_000
TEXT_LR, CODE_LR = 0.01, 0.001  # the inner step of MAML's text and of its authors' code
TESTED = (1, 5, 10)

SINUSOID_NOTE = """\
Amplitude in [0.1, 5], phase in [0, pi], x in [-5, 5]; 25 tasks of 10 shots a meta-batch, one inner step, a perceptron
of 40 and 40 units. As in the paper (appendix B), one theta trained at 10 shots is tested at 5, 10 and 20; Table 2 gives
5 shots, without intervals. The text has inner steps of 0.01, the authors' code 0.001. Errors are of 100 other points of
a curve; *lost*: curves whose squared error exceeds 100. The others have fewer outer steps than MAML.
MAML by steps of 0.001 and the pre-trained network start as in the authors' code (sd 0.01), the others as He et al. say:
from there a network that is trained jointly becomes too steep to be fine-tuned by steps of 0.01, and MAML by steps of
0.001 ends at 0.80 / 0.44 / 0.39."""
MULTIMODAL_NOTE = """\
One half sinusoids as above, one half lines with slope and intercept in [-3, 3], normal noise of sd 0.3 on every y,
support and query alike: the least possible error is 0.09. The paper shows curves, but no number, so there is nothing to
compare with but one another."""

SINUSOIDS = Problem(
    name="sinusoid",
    title="Sinusoids (MAML, section 5.1)",
    tasks=Sinusoids(),
    new_tasks=Sinusoids(),
    score=mean_squared_error,
    larger_is_better=False,
    n_tasks=25,
    n_shots=10,
    tested_shots=(5, 10, 20),
    n_query=100,
    note=SINUSOID_NOTE,
)
MULTIMODAL = Problem(
    name="multimodal",
    title="Sinusoids and lines (LEO, section 5.1)",
    tasks=SinusoidsAndLines(),
    new_tasks=SinusoidsAndLines(),
    score=mean_squared_error,
    larger_is_better=False,
    n_tasks=25,
    n_shots=5,
    tested_shots=(5,),
    n_query=100,
    note=MULTIMODAL_NOTE,
)


def _table_2(*values: float) -> dict[tuple[int, int | None], Figure]:
    return {(5, steps): Figure(value, where="Table 2") for steps, value in zip(TESTED, values, strict=True)}


def _both(n_steps: int) -> list[Contestant]:
    """Those that take part in both problems."""
    maml = Maml(NETWORK, squared_error, TEXT_LR, 1)
    process = NeuralProcess(EMBEDDING, squared_error, 1.0, 1, n_classes=1, on_credit=False, hidden=64)
    return [
        Contestant("MAML, first order", replace(maml, first_order=True), n_steps, tested_steps=TESTED),
        Contestant("CAVIA", Cavia(NETWORK, squared_error, 1.0, 1, n_context=5), n_steps),
        Contestant("LEO", LeoRegression(NETWORK, squared_error, TEXT_LR, 2, finetuning_steps=2), n_steps // 5),
        Contestant("Neural process", process, n_steps),
    ]


def sinusoid_contestants() -> list[Contestant]:
    maml = Maml(NETWORK, squared_error, TEXT_LR, 1)
    by_code = Maml(SMALL_START, squared_error, CODE_LR, 1)
    joint = Maml(SMALL_START, squared_error, TEXT_LR, 0)  # no inner step in training: one network for all tasks
    plus_plus = MamlPlusPlus(NETWORK, squared_error, TEXT_LR, 5, annealing_share=ANNEALING_SHARE)
    paper = _table_2(0.67, 0.38, 0.35)
    return [
        Contestant("MAML, step 0.01", maml, AUTHORS_STEPS, tested_steps=TESTED, published=paper),
        Contestant("MAML, step 0.001", by_code, AUTHORS_STEPS, tested_steps=TESTED, published=paper),
        Contestant("Pre-trained", joint, STEPS, tested_steps=TESTED, published=_table_2(2.41, 2.23, 2.19)),
        *_both(STEPS),
        Contestant("ANIL", Anil(NETWORK, squared_error, TEXT_LR, 1), STEPS, tested_steps=TESTED),
        Contestant("Meta-SGD", MetaSgd(NETWORK, squared_error, TEXT_LR, 1), STEPS),
        Contestant("MAML++", plus_plus, STEPS, tested_steps=TESTED),
        Contestant("Reptile", Reptile(NETWORK, squared_error, TEXT_LR, 10), STEPS, tested_steps=(1, 5, 10, 32)),
    ]


def multimodal_contestants() -> list[Contestant]:
    maml = Maml(NETWORK, squared_error, TEXT_LR, 1)
    return [Contestant("MAML", maml, STEPS, tested_steps=TESTED), *_both(STEPS)]
