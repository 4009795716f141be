"""The papers' problems: tasks are drawn as the papers say, figures are compared as the report says."""

from io import BytesIO
from pathlib import Path
from zipfile import ZipFile

import numpy as np
import pytest
import torch
from PIL import Image

from benchmarks.papers import measure
from benchmarks.papers.characters import STEPS, TIMES
from benchmarks.papers.characters import contestants as image_contestants
from benchmarks.papers.clusters import Clusters
from benchmarks.papers.clusters import contestants as cluster_contestants
from benchmarks.papers.curves import multimodal_contestants, sinusoid_contestants
from benchmarks.papers.glyphs import generate_glyphs, load_glyphs
from benchmarks.papers.images import N_DRAWINGS, SIDE, Drawings, ImageTasks, accuracy, split
from benchmarks.papers.measure import measured, summary
from benchmarks.papers.networks import NormalisedMlp, SmallStartMlp, normalised
from benchmarks.papers.omniglot import ARCHIVES, find_archives, load_omniglot
from benchmarks.papers.problem import Contestant, Figure, Problem
from benchmarks.papers.regression import Sinusoids, SinusoidsAndLines, mean_squared_error
from benchmarks.papers.report import Row, Table, claims_of, order_agreement, reached, write_report
from benchmarks.papers.run import Choice, exams, measure_one, tables_of, unfinished
from meta.learners.maml import Maml
from meta.losses import squared_error
from meta.nets import Mlp


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def residuals(x: np.ndarray, y: np.ndarray, columns: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Least squares of each task on its columns: coefficients and residual sds."""
    fits = [np.linalg.lstsq(c, t, rcond=None)[0] for c, t in zip(columns, y, strict=True)]
    left = np.stack([t - c @ f for c, t, f in zip(columns, y, fits, strict=True)])
    return np.stack(fits), left.std(axis=1)


def test_sinusoids_have_the_papers_amplitudes_and_phases() -> None:
    episode = Sinusoids().draw(rng(), 300, 5, 60)
    assert episode.support.x.shape == (300, 5, 1)
    x, y = episode.query.x.squeeze(-1).double().numpy(), episode.query.y.double().numpy()
    assert -5.0 <= x.min() < -4.9
    assert 4.9 < x.max() <= 5.0
    fits, left = residuals(x, y, np.stack([np.sin(x), np.cos(x)], axis=-1))
    assert left.max() < 1e-5  # no noise
    amplitude, phase = np.hypot(*fits.T), np.arctan2(-fits[:, 1], fits[:, 0])
    assert 0.1 <= amplitude.min() + 1e-5 < 0.4
    assert 4.8 < amplitude.max() <= 5.0 + 1e-5
    assert 0.0 <= phase.min() + 1e-3 < 0.2
    assert 2.9 < phase.max() <= np.pi + 1e-3


def test_clusters_are_told_by_the_support_alone() -> None:
    episode = Clusters().draw(rng(3), 200, 1, 1)
    assert episode.support.x.shape == (200, 5, 16)
    assert all(sorted(labels) == [0, 1, 2, 3, 4] for labels in episode.support.y.tolist())
    assert len({tuple(labels) for labels in episode.support.y.tolist()}) > 80  # of 120 orders
    nearest = torch.cdist(episode.query.x, episode.support.x).argmin(-1)
    assert (episode.support.y.gather(-1, nearest) == episode.query.y).float().mean() > 0.95
    again = Clusters().draw(rng(3), 200, 1, 1)
    assert torch.equal(again.query.x, episode.query.x)


def test_half_the_multimodal_tasks_are_lines_and_all_are_noisy() -> None:
    episode = SinusoidsAndLines().draw(rng(1), 400, 5, 200)
    x, y = episode.query.x.squeeze(-1).double().numpy(), episode.query.y.double().numpy()
    lines, left_by_lines = residuals(x, y, np.stack([x, np.ones_like(x)], axis=-1))
    _, left_by_waves = residuals(x, y, np.stack([np.sin(x), np.cos(x)], axis=-1))
    is_line = left_by_lines < left_by_waves
    assert 0.4 < is_line.mean() < 0.6
    assert np.minimum(left_by_lines, left_by_waves).mean() == pytest.approx(0.3, abs=0.01)
    assert np.abs(lines[is_line]).max() < 3.2
    assert np.abs(lines[is_line]).max(axis=0).min() > 2.8


@pytest.mark.parametrize("tasks", [Sinusoids(), SinusoidsAndLines(), ImageTasks(generate_glyphs(8, seed=0))])
def test_the_same_seed_draws_the_same_tasks(tasks: Sinusoids) -> None:
    first, again, other = tasks.draw(rng(3), 4, 2, 3), tasks.draw(rng(3), 4, 2, 3), tasks.draw(rng(4), 4, 2, 3)
    assert torch.equal(first.support.x, again.support.x)
    assert torch.equal(first.query.y, again.query.y)
    assert not torch.equal(first.support.x, other.support.x)


def coded_drawings(n_characters: int) -> Drawings:
    """Drawings that say who they are: every pixel is 20 * character + drawing."""
    codes = np.arange(n_characters * N_DRAWINGS, dtype=np.uint8).reshape(n_characters, N_DRAWINGS, 1, 1)
    return np.tile(codes, (1, 1, SIDE, SIDE))


def test_an_image_task_has_each_class_n_shots_times_and_no_drawing_twice() -> None:
    episode = ImageTasks(coded_drawings(12)).draw(rng(), 50, 3, 4)
    assert episode.support.x.shape == (50, 15, SIDE * SIDE)
    assert episode.query.x.shape == (50, 20, SIDE * SIDE)
    for task in range(50):
        codes = torch.cat([episode.support.x[task, :, 0], episode.query.x[task, :, 0]]).long()
        labels = torch.cat([episode.support.y[task], episode.query.y[task]])
        assert len(codes.unique()) == 35
        characters = {int(y): set((codes[labels == y] // N_DRAWINGS).tolist()) for y in labels.unique()}
        assert [len(found) for found in characters.values()] == [1] * 5  # a label is one character,
        assert len(set.union(*characters.values())) == 5  # and a character has one label
    assert episode.support.y.flatten().bincount().tolist() == [150] * 5
    assert all(episode.support.y[:, :3].eq(label).any() for label in range(5))  # rows are in random order


def test_a_class_is_turned_as_a_whole() -> None:
    drawings = np.zeros((6, N_DRAWINGS, SIDE, SIDE), dtype=np.uint8)
    drawings[..., 0, 3] = 1  # one pixel that says how often the drawing was turned
    episode = ImageTasks(drawings).draw(rng(), 40, 2, 2)
    place = torch.cat([episode.support.x, episode.query.x], dim=1).argmax(-1)
    labels = torch.cat([episode.support.y, episode.query.y], dim=1)
    for task in range(40):
        assert all(len(place[task][labels[task] == y].unique()) == 1 for y in range(5))
    assert len(place.unique()) == 4


def test_no_character_is_on_both_sides_of_the_split() -> None:
    training, new = split(coded_drawings(12), 8, seed=0)
    assert (len(training), len(new)) == (8, 4)
    assert set(np.unique(training)) | set(np.unique(new)) == set(range(240))
    assert not set(np.unique(training)) & set(np.unique(new))


def test_glyphs_differ_between_characters_more_than_within() -> None:
    glyphs = generate_glyphs(12, seed=5).reshape(12, N_DRAWINGS, -1).astype(float)
    assert set(np.unique(glyphs)) == {0.0, 1.0}
    assert all(len(np.unique(character, axis=0)) > N_DRAWINGS // 2 for character in glyphs)  # nobody draws twice alike
    blurred = glyphs.mean(axis=1)
    nearest = ((glyphs[:, :, None] - blurred[None, None]) ** 2).sum(-1).argmin(-1)
    assert (nearest == np.arange(12)[:, None]).mean() > 0.6  # chance: 0.08


def test_glyphs_are_the_same_for_a_seed_and_kept(tmp_path: Path) -> None:
    made = load_glyphs(tmp_path, seed=2, n_characters=5)
    np.testing.assert_array_equal(made, generate_glyphs(7, seed=2)[:5])
    np.testing.assert_array_equal(load_glyphs(tmp_path, seed=2, n_characters=5), made)
    assert [file.name for file in tmp_path.iterdir()] == ["glyphs.5.2.npz"]
    assert not np.array_equal(made, generate_glyphs(5, seed=3))


def write_archives(folder: Path, n_characters: int) -> Drawings:
    """Write two archives with the folders of Omniglot's; gives the drawings they hold, large."""
    drawings = generate_glyphs(n_characters, seed=1).repeat(4, axis=-1).repeat(4, axis=-2)[..., :105, :105]
    half = n_characters // 2
    for archive, characters in zip(ARCHIVES, (drawings[:half], drawings[half:]), strict=True):
        root = archive.removesuffix(".zip")
        with ZipFile(folder / archive, "w") as opened:
            opened.writestr(f"__MACOSX/{root}/._Greek.png", b"not a picture")
            for c, character in enumerate(characters):
                for d, drawing in enumerate(character):
                    picture = BytesIO()
                    Image.fromarray(drawing == 0).save(picture, "PNG")  # one bit a pixel, ink is black
                    opened.writestr(f"{root}/Greek/character{c + 1:02}/{c:04}_{d + 1:02}.png", picture.getvalue())
    return drawings


def test_archives_are_read_by_nearest_neighbour_with_ink_as_one(tmp_path: Path) -> None:
    drawings = write_archives(tmp_path, 4)
    found = load_omniglot(find_archives(tmp_path))
    assert found.shape == (4, N_DRAWINGS, SIDE, SIDE)
    assert found.dtype == np.uint8
    kept = ((np.arange(SIDE) + 0.5) * 105 / SIDE).astype(int)
    np.testing.assert_array_equal(found, drawings[..., kept[:, None], kept])


def test_absent_or_incomplete_archives_are_named(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"images_background\.zip is not there"):
        find_archives(tmp_path)
    with ZipFile(tmp_path / "short.zip", "w") as opened:
        picture = BytesIO()
        Image.fromarray(np.ones((105, 105), dtype=bool)).save(picture, "PNG")
        opened.writestr("images_background/Greek/character01/0001_01.png", picture.getvalue())
    with pytest.raises(ValueError, match="1 drawings, not 20"):
        load_omniglot([tmp_path / "short.zip"])


def test_units_are_normalised_over_the_rows_of_their_own_task() -> None:
    x = torch.randn(3, 50, 4, generator=torch.Generator().manual_seed(0)) * 7 + 2
    found = normalised(x)
    torch.testing.assert_close(found.mean(-2), torch.zeros(3, 4), atol=1e-5, rtol=0)
    torch.testing.assert_close(found.var(-2, correction=0), torch.ones(3, 4), atol=1e-3, rtol=0)
    network = NormalisedMlp(4, (6, 5), 2)
    params = network.init(torch.Generator().manual_seed(1))
    assert network.forward(params, x).shape == (3, 50, 2)
    assert network.represent(params, x).shape[-1] == network.n_represented
    alone = torch.stack([network.forward(params, task) for task in x])
    torch.testing.assert_close(network.forward(params, x), alone)


def test_the_codes_start_is_small() -> None:
    params = SmallStartMlp(1, (40, 40), 1).init(torch.Generator().manual_seed(0))
    assert params["w1"].std().item() == pytest.approx(0.0088, abs=0.0005)  # of a normal cut at two sds
    assert params["w1"].abs().max() <= 0.02
    assert params["b1"].abs().max() == 0.0


def test_scores_are_taken_task_by_task() -> None:
    predictions = torch.tensor([[[0.1, 0.9], [0.8, 0.2]], [[0.4, 0.6], [0.3, 0.7]]])
    assert accuracy(predictions, torch.tensor([[1, 1], [1, 1]])).tolist() == [0.5, 1.0]
    curves = torch.tensor([[[1.0], [2.0]], [[0.0], [0.0]]])
    assert mean_squared_error(curves, torch.tensor([[1.0, 4.0], [3.0, 0.0]])).tolist() == [2.0, 4.5]


def test_the_summary_counts_lost_tasks() -> None:
    found = summary(torch.tensor([1.0, 2.0, 3.0, 6.0]))
    assert (found["mean"], found["median"], found["n_lost"]) == (3.0, 2.5, 0)
    assert found["half_width"] == pytest.approx(1.96 * np.sqrt(14 / 3) / 2)
    assert summary(torch.tensor([1.0, 101.0, float("nan"), float("inf")]))["n_lost"] == 3


@pytest.mark.parametrize(
    ("mean", "half_width", "figure", "larger_is_better", "verdict"),
    [
        (0.70, 0.04, Figure(0.67), False, True),
        (0.70, 0.02, Figure(0.67), False, False),
        (0.70, 0.02, Figure(0.67, 0.02), False, True),
        (0.30, 0.01, Figure(0.67), False, True),  # better
        (0.88, 0.01, Figure(0.897, 0.011), True, True),
        (0.86, 0.01, Figure(0.897, 0.011), True, False),
        (0.95, 0.01, Figure(0.897, 0.011), True, True),
        (float("nan"), 0.01, Figure(0.67), False, False),
    ],
)
def test_a_figure_is_reached_within_the_intervals(
    mean: float, half_width: float, figure: Figure, larger_is_better: bool, verdict: bool
) -> None:
    assert reached({"mean": mean, "half_width": half_width}, figure, larger_is_better=larger_is_better) is verdict


NETWORK = Mlp(1, (4,), 1)
LEARNER = Maml(NETWORK, squared_error, 0.01, 1)


def toy_problem(*, larger_is_better: bool, is_the_papers: bool = True) -> Problem:
    return Problem(
        name="toy",
        title="Toy",
        tasks=Sinusoids(),
        new_tasks=Sinusoids(),
        score=mean_squared_error,
        larger_is_better=larger_is_better,
        n_tasks=2,
        n_shots=1,
        tested_shots=(1,),
        is_the_papers=is_the_papers,
        chance=0.32,
    )


def toy_row(learner: str, mean: float) -> Row:
    return {
        "problem": "toy",
        "learner": learner,
        "n_steps": 7,
        "cpu_s": 1.0,
        "n_shots": 1,
        "steps": None,
        "mean": mean,
        "half_width": 0.01,
        "median": mean,
        "n_lost": 0,
    }


def toy_table(problem: Problem) -> Table:
    figures = {"A": Figure(0.9, 0.01), "B": Figure(0.95, None, same_network=False), "C": Figure(0.8)}
    contestants = [Contestant(name, LEARNER, 7, published={(1, None): f}) for name, f in figures.items()]
    rows = [toy_row("A", 0.85), toy_row("B", 0.7), toy_row("C", 0.6), toy_row("unasked", 0.1)]
    return Table(problem, contestants, rows)


def test_claims_judge_the_papers_network_on_the_papers_data_only() -> None:
    claims = claims_of(toy_table(toy_problem(larger_is_better=True)))
    assert claims[0] == "toy, A, 1 shot: 85.0 % ± 1.0 %, paper 90.0 % ± 1.0 %: not reached"
    assert claims[1].startswith("toy, C, 1 shot: 60.0 % ± 1.0 %, paper 80.0 %")
    assert claims[2] == "toy: twice as good as a guess (32.0 %) or better: 2 of 3; not C"
    assert claims[3] == "toy: order, at as many steps, A > B > C"
    assert len(claims) == 5
    stood_in = claims_of(toy_table(toy_problem(larger_is_better=True, is_the_papers=False)))
    assert stood_in == claims[2:]
    assert len(claims_of(toy_table(toy_problem(larger_is_better=False)))) == 2  # no order of squared errors


def test_the_order_is_compared_with_the_papers_by_ranks() -> None:
    table = toy_table(toy_problem(larger_is_better=True))
    agreement = order_agreement(table)
    assert agreement is not None
    assert agreement == (pytest.approx(0.5), 3)  # A and B changed places
    assert order_agreement(Table(table.problem, table.contestants[:2], table.rows)) is None


def test_the_report_has_ours_beside_the_papers(tmp_path: Path) -> None:
    claims = write_report([toy_table(toy_problem(larger_is_better=True))], " toy", tmp_path)
    text = (tmp_path / "papers.md").read_text()
    assert "`python -m benchmarks.papers toy`" in text
    assert "| A | 1 | its own | 85.0 % ± 1.0 % | 85.0 % | 90.0 % ± 1.0 % |  | 7 | 1 |" in text
    assert all(f"- {claim}\n" in text for claim in claims.splitlines())
    assert (tmp_path / "papers.png").stat().st_size > 0


def test_a_result_is_taken_up_from_its_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(measure, "N_TEST_TASKS", 50)
    problem, contestant = toy_problem(larger_is_better=False), Contestant("A", LEARNER, 2, tested_steps=(0, 1))
    first = measured(problem, contestant, 0, tmp_path)
    assert [(row["steps"], row["n_shots"]) for row in first] == [(0, 1), (1, 1)]
    monkeypatch.setattr(measure, "trained", None)  # must not be asked again
    assert measured(problem, contestant, 0, tmp_path) == first


@pytest.mark.parametrize(
    ("name", "learners", "n_figures"),
    [
        ("sinusoid", ("MAML, step 0.01", "Pre-trained", "Neural process"), 6),
        ("multimodal", ("LEO", "Neural process"), 0),
        ("images", ("MAML", "Prototypical"), 2),
    ],
)
def test_a_problem_is_measured_and_reported_from_end_to_end(
    name: str, learners: tuple[str, ...], n_figures: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(measure, "N_TEST_TASKS", 10)
    monkeypatch.setattr(measure, "N_AT_ONCE", 5)
    write_archives(tmp_path, 20)
    choice = Choice((name,), learners, omniglot=tmp_path, n_steps=2, image_steps=2, var=tmp_path / "var")
    for place, learner in unfinished(choice):
        assert learner in measure_one(choice, place, learner)
    assert unfinished(choice) == []
    tables = tables_of(choice)
    assert [table.problem for table in tables] == [problem for problem, _ in exams(choice)]
    assert all({row["learner"] for row in table.rows} == set(learners) for table in tables)
    assert all(np.isfinite(row["median"]) for table in tables for row in table.rows)
    claims = write_report(tables, choice.said, tmp_path)
    assert claims.count("reached") == n_figures
    assert f"--learners {' '.join(repr(x) for x in learners)}".replace("'", '"') in (tmp_path / "papers.md").read_text()


def test_every_contestant_has_its_place_and_only_figures_that_are_asked_for() -> None:
    for contestants in (
        sinusoid_contestants(),
        multimodal_contestants(),
        image_contestants(1),
        image_contestants(5),
        cluster_contestants(),
    ):
        names = [c.name for c in contestants]
        assert len(set(names)) == len(names)
        for contestant in contestants:
            asked = {steps for _, steps in contestant.published}
            assert asked <= set(contestant.tested_steps or (None,))
    for n_shots, n_steps in STEPS.items():
        for contestant in image_contestants(n_shots):
            assert contestant.n_steps == n_steps * TIMES.get(contestant.name, 1)
    assert {c.n_steps for c in image_contestants(5, n_steps=10)} == {5 * TIMES.get(n, 1) for n in ("MAML", *TIMES)}
    assert set(TIMES) <= {c.name for c in image_contestants(1)}


def test_who_had_other_steps_is_judged_against_a_guess_and_not_ordered() -> None:
    table = toy_table(toy_problem(larger_is_better=True))
    slow = Contestant("D", LEARNER, 21)
    claims = claims_of(Table(table.problem, [*table.contestants, slow], [*table.rows, toy_row("D", 0.2)]))
    assert "toy: twice as good as a guess (32.0 %) or better: 2 of 4; not C, D" in claims
    assert "toy: order, at as many steps, A > B > C" in claims
