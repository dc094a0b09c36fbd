"""Distances against closed forms and brute force, the classifier on what it can and cannot tell, the common space."""

import math

import numpy as np
import pytest

from polyalign.embeddings.classifier import fold_auc, fold_of_rows, two_sample_test
from polyalign.embeddings.distances import (
    energy_distance,
    exchanges,
    frechet_by_chance,
    frechet_distance,
    gaussian_frechet,
    mean_shift,
    spread_ratio,
)
from polyalign.embeddings.settings import Embeddings
from polyalign.embeddings.space import read_space, reduce
from polyalign.embeddings.summary import figures, summarize
from polyalign.embeddings.vectors import read_vectors, write_vectors
from polyalign.errors import BadInput
from polyalign.files import write_table

ENCODER = {"digest": "abc", "dim": 4}
COUNTS = {"rows": 60, "embedded": 60, "no_answer": 0, "empty": 0, "cut": 0, "distinct": 60}


def cloud(rows, width=3, seed=0, mean=0.0, scale=1.0):
    return np.random.default_rng(seed).normal(mean, scale, (rows, width))


def exact(mean, deviation, rows, seed):
    """A cloud (rows, 2) whose mean and deviations are those given, uncorrelated."""
    drawn = cloud(rows, 2, seed)
    drawn -= drawn.mean(axis=0)
    left, _, _ = np.linalg.svd(drawn, full_matrices=False)
    return left * math.sqrt(rows - 1) * np.asarray(deviation) + np.asarray(mean)


class TestFrechet:
    def test_gaussians_that_commute_have_a_closed_form(self):
        one, other = np.diag([4.0, 1.0, 9.0]), np.diag([1.0, 1.0, 16.0])
        found = gaussian_frechet(np.array([1.0, 0, 0]), one, np.array([0.0, 2, 0]), other)
        assert found == pytest.approx(1 + 4 + (2 - 1) ** 2 + (3 - 4) ** 2)

    def test_rotated_gaussians_keep_their_distance(self):
        axes, _ = np.linalg.qr(cloud(3, 3, 5))
        one, other, mean = np.diag([4.0, 1.0, 9.0]), np.diag([1.0, 2.0, 16.0]), np.array([1.0, -1, 3])
        plain = gaussian_frechet(mean, one, 0 * mean, other)
        turned = gaussian_frechet(axes @ mean, axes @ one @ axes.T, 0 * mean, axes @ other @ axes.T)
        assert turned == pytest.approx(plain)

    def test_two_dimensions_that_do_not_commute(self):
        """tr (S T)^(1/2) = sqrt(tr(S T) + 2 sqrt(det(S T))) in two dimensions."""
        one, other = np.array([[2.0, 0.7], [0.7, 1.0]]), np.array([[1.0, -0.4], [-0.4, 3.0]])
        root = math.sqrt(np.trace(one @ other) + 2 * math.sqrt(np.linalg.det(one @ other)))
        found = gaussian_frechet(np.zeros(2), one, np.zeros(2), other)
        assert found == pytest.approx(np.trace(one) + np.trace(other) - 2 * root)

    def test_clouds_are_taken_by_their_moments(self):
        one, other = exact([0, 0], [1, 2], 50, 1), exact([3, 4], [2, 2], 70, 2)
        assert frechet_distance(one, other) == pytest.approx(25 + 1)
        assert frechet_distance(one, one) == pytest.approx(0, abs=1e-9)

    def test_what_comes_by_chance_is_below_a_real_difference(self):
        human, same, far = cloud(80, 5, 1), cloud(80, 5, 2), cloud(80, 5, 3, mean=1.0)
        chance = frechet_by_chance(human, same, 1)
        assert chance == pytest.approx(frechet_distance(human, same), rel=0.5)
        assert frechet_distance(human, far) > 5 * frechet_by_chance(human, far, 1)

    def test_fewer_rows_than_dimensions_give_a_number(self):
        assert math.isfinite(frechet_distance(cloud(5, 20, 1), cloud(5, 20, 2)))


def brute_energy(human, other):
    """The definition, pair by pair."""
    total, rows = 0.0, len(human)
    for i in range(rows):
        for j in range(rows):
            if i != j:
                total += math.dist(human[i], other[j]) + math.dist(other[i], human[j])
                total -= math.dist(human[i], human[j]) + math.dist(other[i], other[j])
    return total / rows / (rows - 1)


class TestEnergy:
    def test_it_is_the_definition_pair_by_pair(self, monkeypatch):
        human, other = cloud(17, 3, 1), cloud(17, 3, 2, mean=0.5)
        expected = brute_energy(human, other)
        assert energy_distance(human, other).estimate == pytest.approx(expected)
        # In several blocks as in one.
        monkeypatch.setattr("polyalign.embeddings.distances._BLOCK", 60)
        assert energy_distance(human, other).estimate == pytest.approx(expected)

    def test_two_points_have_twice_their_distance(self):
        human, other = np.zeros((20, 2)), np.tile([3.0, 4.0], (20, 1))
        assert energy_distance(human, other).estimate == pytest.approx(10)

    def test_replicates_are_the_distance_of_the_drawn_rows(self):
        human, other = cloud(12, 2, 1), cloud(12, 2, 2, mean=1.0)
        weights = np.array([[1] * 12, [2, 0, 1] * 4])
        found = energy_distance(human, other, weights)
        assert found.replicates[0] == pytest.approx(found.estimate)
        rows = np.repeat(np.arange(12), weights[1])
        total = pairs = 0.0
        for i in rows:
            for j in rows:
                # Two draws of one row are no pair.
                if i != j:
                    total += math.dist(human[i], other[j]) + math.dist(other[i], human[j])
                    total -= math.dist(human[i], human[j]) + math.dist(other[i], other[j])
        pairs = weights[1].sum() ** 2 - (weights[1] ** 2).sum()
        assert found.replicates[1] == pytest.approx(total / pairs)

    def test_exchanging_answers_changes_signs(self):
        human, other = cloud(15, 3, 1), cloud(15, 3, 2, mean=0.4)
        signs = exchanges(15, 40, seed=7)
        values = []
        for column in signs.T:
            swapped = (column < 0)[:, None]
            values.append(brute_energy(np.where(swapped, other, human), np.where(swapped, human, other)))
        estimate = brute_energy(human, other)
        expected = (1 + sum(value >= estimate - 1e-12 for value in values)) / 41
        assert energy_distance(human, other, permutations=40, seed=7).p_value == pytest.approx(expected)

    def test_p_values_of_equal_distributions_are_spread_evenly(self):
        found = [
            energy_distance(cloud(30, 2, 2 * n), cloud(30, 2, 2 * n + 1), permutations=39, seed=n).p_value
            for n in range(120)
        ]
        assert 0.02 < np.mean(np.array(found) <= 0.1) < 0.2
        assert 0.4 < np.mean(found) < 0.6

    def test_it_has_no_bias_where_there_is_no_difference(self):
        found = [energy_distance(cloud(20, 2, 2 * n), cloud(20, 2, 2 * n + 1)).estimate for n in range(200)]
        assert abs(np.mean(found)) < 3 * np.std(found) / math.sqrt(len(found))
        assert min(found) < 0 < max(found)


class TestClassifier:
    def test_equal_distributions_cannot_be_told_apart(self):
        found = [
            two_sample_test(cloud(150, 4, 2 * n), cloud(150, 4, 2 * n + 1), folds=5, seed=n).auc
            for n in range(12)
        ]
        assert abs(np.mean(found) - 0.5) < 0.03

    def test_separated_ones_always_are(self):
        assert two_sample_test(cloud(60), cloud(60, seed=1, mean=6.0), folds=5, seed=0).auc > 0.99

    def test_a_difference_in_spread_alone_is_seen(self):
        assert two_sample_test(cloud(200), cloud(200, seed=1, scale=3.0), folds=5, seed=0).auc > 0.85

    def test_the_topic_of_a_row_gives_nothing_away(self):
        """Both answers to a question are nearly the same: with one of them known, the other would be called wrong."""
        topics = cloud(80, 12, 1)
        near = 0.01 * cloud(160, 12, 2)
        found = two_sample_test(topics + near[:80], topics + near[80:], folds=5, seed=0)
        assert 0.35 < found.auc < 0.65

    def test_the_interval_holds_the_estimate_and_narrows_with_rows(self):
        widths = []
        for rows in (60, 600):
            weights = np.random.default_rng(0).multinomial(rows, [1 / rows] * rows, size=200)
            found = two_sample_test(
                cloud(rows), cloud(rows, seed=1, mean=0.5), folds=5, seed=0, weights=weights
            )
            low, high = np.quantile(found.replicates, [0.025, 0.975])
            assert low < found.auc < high
            widths.append(high - low)
        assert widths[1] < 0.6 * widths[0]

    def test_areas_are_counted_within_folds(self, monkeypatch):
        human, other = np.array([0.0, 1, 5, 6]), np.array([1.0, 1, 4, 9])
        fold = np.array([0, 0, 1, 1])
        # Fold 0: 1>0, 1>0, two ties; fold 1: 9>5, 9>6.
        expected = [(2 + 2 * 0.5 + 2) / 8, 9 / 9]
        weights = np.array([[1, 1, 1, 1], [3, 0, 0, 0]])
        assert fold_auc(human, other, fold, weights) == pytest.approx(expected)
        monkeypatch.setattr("polyalign.embeddings.classifier._BLOCK", 1)
        assert fold_auc(human, other, fold, weights) == pytest.approx(expected)

    def test_folds_are_even(self):
        counts = np.bincount(fold_of_rows(53, 5, 1))
        assert sorted(counts) == [10, 10, 11, 11, 11]


class TestSpace:
    def write(self, path, rows, vectors, ids=None, encoder=ENCODER):
        write_vectors(path, rows, ids or [f"r{row}" for row in rows], vectors, encoder=encoder, counts=COUNTS)
        return path

    def test_rows_in_common_stand_side_by_side_whatever_their_order(self, tmp_path):
        vectors = cloud(30, 4)
        human = self.write(tmp_path / "h.parquet", list(range(30)), vectors)
        rows = [29, 3, 7, *range(10, 25)]
        system = self.write(tmp_path / "s.parquet", rows, vectors[rows])
        space = read_space(human, {"s": system}, components=8)
        assert space.rows.tolist() == sorted(rows)
        # The same vectors lie in the same places.
        assert np.allclose(space.human, space.systems["s"])
        assert space.human.shape == (18, 4)
        assert space.explained == pytest.approx(1)
        # A unit is the spread of the human answers.
        assert space.human.var(axis=0).sum() == pytest.approx(1)

    @pytest.mark.parametrize(
        "change, said",
        [
            ({"encoder": {"digest": "other", "dim": 4}}, "another encoder.*digest differ"),
            ({"ids": [f"r{n + 1}" for n in range(30)]}, "found 'r1' for row 0"),
        ],
    )
    def test_what_must_not_be_compared_is_refused(self, tmp_path, change, said):
        human = self.write(tmp_path / "h.parquet", list(range(30)), cloud(30, 4))
        system = self.write(tmp_path / "s.parquet", list(range(30)), cloud(30, 4), **change)
        with pytest.raises(BadInput, match=said):
            read_space(human, {"s": system}, components=8)

    def test_too_few_common_rows_are_refused(self, tmp_path):
        human = self.write(tmp_path / "h.parquet", list(range(30)), cloud(30, 4))
        system = self.write(tmp_path / "s.parquet", list(range(25, 55)), cloud(30, 4))
        with pytest.raises(BadInput, match="5 rows are answered by humans and by every system"):
            read_space(human, {"s": system}, components=8)

    def test_an_encoder_that_gives_one_vector_is_refused(self, tmp_path):
        human = self.write(tmp_path / "h.parquet", list(range(30)), np.ones((30, 4)))
        with pytest.raises(BadInput, match="the same vector"):
            read_space(human, {"s": human}, components=8)

    def test_a_table_of_something_else_is_refused(self, tmp_path):
        human = self.write(tmp_path / "h.parquet", list(range(30)), cloud(30, 4))
        table = read_vectors(human)
        import pyarrow.parquet as pq

        write_table(tmp_path / "x.parquet", pq.read_table(human).replace_schema_metadata(None))
        assert table.values.shape == (30, 4)
        with pytest.raises(BadInput, match="no vectors of answers"):
            read_vectors(tmp_path / "x.parquet")

    def test_components_keep_distances_where_all_are_kept(self):
        vectors = cloud(20, 6)
        reduced, share = reduce(vectors, 6)
        assert share == pytest.approx(1)
        assert np.linalg.norm(reduced[0] - reduced[1]) == pytest.approx(
            np.linalg.norm(vectors[0] - vectors[1])
        )
        shares = [reduce(vectors, k)[1] for k in (1, 3, 6)]
        assert shares == sorted(shares)
        assert (reduced.var(axis=0)[:-1] >= reduced.var(axis=0)[1:]).all()

    def test_a_summary_finds_the_bucket_that_differs(self, tmp_path):
        buckets = np.array(
            ["en|single|qa|short"] * 40 + ["en|multi|dialogue|short"] * 40 + ["en|x|y|long"] * 5
        )
        vectors, moved = cloud(85, 4, 1), cloud(85, 4, 2)
        moved[40:80] += 3
        human = self.write(tmp_path / "h.parquet", list(range(85)), vectors)
        system = self.write(tmp_path / "s.parquet", list(range(85)), moved)
        settings = Embeddings(bootstrap=50, permutations=50, components=4)
        summary = summarize("en", human, {"s": system}, buckets, settings, 1)
        parts = summary["systems"]["s"]["by_bucket"]
        assert set(parts) == {"en|single|qa|short", "en|multi|dialogue|short"}
        assert summary["small_buckets"] == {"en|x|y|long": 5}
        near, far = parts["en|single|qa|short"], parts["en|multi|dialogue|short"]
        assert far["auc_low"] > near["auc_high"]
        assert far["energy"] > 5 * abs(near["energy"])
        assert far["energy_p"] == pytest.approx(1 / 51)
        assert far["energy_low"] < far["energy"] < far["energy_high"]
        assert summary == summarize("en", human, {"s": system}, buckets, settings, 1)

    def test_without_replicates_there_are_no_intervals(self):
        settings = Embeddings(bootstrap=0, permutations=0)
        found = figures(cloud(30), cloud(30, seed=1), np.zeros((0, 30)), settings, 1)
        assert {found[name] for name in ("auc_low", "energy_high", "energy_p")} == {None}


def test_shift_and_spread_of_known_clouds():
    human, other = exact([0, 0], [1, 1], 40, 1), exact([3, 4], [2, 2], 40, 2)
    assert mean_shift(human, other) == pytest.approx(5)
    assert spread_ratio(human, other) == pytest.approx(2)
    assert spread_ratio(np.zeros((5, 2)), other) is None
