from __future__ import annotations

import itertools
from math import comb

import numpy as np
import pytest

from ctbench_core.errors import InputError
from ctbench_core.metrics import blocks_from_ranks, retrieval_metrics, tied_blocks

KS = (1, 2, 3, 5, 10)


def figures_of_order(relevant, n_relevant, ks=KS):
    """Every figure of one definite order, by its textbook definition."""
    places = np.flatnonzero(relevant) + 1
    precisions = np.arange(1, len(places) + 1) / places
    result = {
        "reciprocal_rank": 1 / places[0],
        "average_precision": precisions.sum() / n_relevant,
        "rank": float(places[0]),
    }
    for k in ks:
        gains = 1 / np.log2(1 + np.arange(1, k + 1))
        top = gains[places[places <= k] - 1].sum()
        result[f"recall_at_{k}"] = float(places[0] <= k)
        result[f"fraction_recall_at_{k}"] = np.sum(places <= k) / n_relevant
        result[f"map_at_{k}"] = precisions[places <= k].sum() / n_relevant
        result[f"ndcg_at_{k}"] = top / gains[:n_relevant].sum()
    return result


def mean_over_all_orders(scores, relevant, n_relevant):
    """The mean of every figure over each order that agrees with the scores."""
    results = []
    for order in itertools.permutations(range(len(scores))):
        ranked = scores[list(order)]
        if (np.diff(ranked) <= 0).all():
            results.append(figures_of_order(relevant[list(order)], n_relevant))
    return {name: np.mean([result[name] for result in results]) for name in results[0]}


def by_trec_eval(folder):
    """Per-query figures as trec_eval printed them, and the goldens' scores, relevance and number of relevant."""
    printed = {}
    for line in (folder / "out.test.aq").read_text().splitlines():
        name, query, value = line.split()
        printed.setdefault(query, {})[name] = value
    relevant = {}
    for line in (folder / "qrels.test").read_text().splitlines():
        query, _, document, grade = line.split()
        relevant.setdefault(query, {})[document] = int(grade) > 0
    runs = {}
    for line in (folder / "results.test").read_text().splitlines():
        query, _, document, _, score, _ = line.split()
        runs.setdefault(query, []).append((np.float32(score), document))
    return printed, relevant, runs


def test_trec_eval_goldens_to_the_printed_digits(golden):
    printed, relevant, runs = by_trec_eval(golden("retrieval_goldens"))
    ks = (1, 5, 10, 15, 20, 30, 100, 200, 500, 1000)
    compared = 0
    for query, run in runs.items():
        # trec_eval settles ties by document name, falling: rank it so, and score by rank.
        documents = [document for _, document in sorted(run, reverse=True)]
        hits = np.array([[relevant[query].get(document, False) for document in documents]])
        total = sum(relevant[query].values())
        assert total == int(printed[query]["num_rel"])
        assert hits.sum() == int(printed[query]["num_rel_ret"])
        actual = retrieval_metrics(tied_blocks(-np.arange(hits.size)[None], hits, n_relevant=[total]), ks).per_query
        names = {"map": "average_precision", "recip_rank": "reciprocal_rank"}
        names |= {f"success_{k}": f"recall_at_{k}" for k in (1, 5, 10)}
        names |= {f"recall_{k}": f"fraction_recall_at_{k}" for k in ks[1:]}
        names |= {f"ndcg_cut_{k}": f"ndcg_at_{k}" for k in ks[1:]} | {f"map_cut_{k}": f"map_at_{k}" for k in ks[1:]}
        for theirs, ours in names.items():
            assert f"{actual[ours][0]:.4f}" == printed[query][theirs], (query, theirs)
            compared += 1
    assert compared == 3 * (2 + 3 + 3 * 9)


def test_expectations_equal_the_mean_over_every_order():
    draw = np.random.default_rng(0)
    for _ in range(60):
        size = int(draw.integers(1, 8))
        scores, relevant = draw.integers(0, 3, size).astype(float), draw.random(size) < 0.5
        relevant[draw.integers(size)] = True
        n_relevant = int(relevant.sum() + draw.integers(0, 3))
        expected = mean_over_all_orders(scores, relevant, n_relevant)
        actual = retrieval_metrics(tied_blocks([scores], [relevant], n_relevant=[n_relevant]), KS).per_query
        for name, value in expected.items():
            assert actual[name][0] == pytest.approx(value, abs=1e-12), name


def test_expectations_equal_20000_random_orders_within_their_error():
    draw = np.random.default_rng(1)
    scores, relevant = np.round(draw.random(120), 1), draw.random(120) < 0.1
    total = int(relevant.sum()) + 2
    actual = retrieval_metrics(tied_blocks([scores], [relevant], n_relevant=[total]), KS).per_query
    results = []
    for _ in range(20_000):
        order = np.lexsort((draw.random(120), -scores))
        results.append(list(figures_of_order(relevant[order], total).values()))
    means, errors = np.mean(results, axis=0), np.std(results, axis=0) / np.sqrt(len(results))
    names = figures_of_order(relevant, total)
    for name, mean, error in zip(names, means, errors):
        assert abs(actual[name][0] - mean) <= 4.5 * error + 1e-12, name


@pytest.mark.parametrize(("above", "size", "hits"), [(0, 1, 1), (4, 7, 1), (20_000, 2, 2), (3, 400, 3), (0, 2000, 2)])
def test_large_blocks_equal_the_closed_forms(above, size, hits):
    blocks = blocks_from_ranks([0] * hits, [above] * hits, [size] * hits, [hits], [above + size])
    actual = retrieval_metrics(blocks, (1, 10, 100)).per_query
    reciprocal = sum(comb(size - j, hits - 1) / comb(size, hits) / (above + j) for j in range(1, size - hits + 2))
    slope = (hits - 1) / max(size - 1, 1)
    precision = sum((1 + (j - 1) * slope) / (above + j) for j in range(1, size + 1)) / size
    assert actual["reciprocal_rank"][0] == pytest.approx(reciprocal, rel=1e-12)
    assert actual["average_precision"][0] == pytest.approx(precision, rel=1e-12)
    for k in (1, 10, 100):
        places = min(max(k - above, 0), size)
        assert actual[f"recall_at_{k}"][0] == pytest.approx(
            1 - comb(size - hits, places) / comb(size, places), abs=1e-14
        )


def test_constant_scores_are_at_chance():
    draw = np.random.default_rng(3)
    relevant = draw.random((30, 200)) < 0.03
    relevant[:, 0] = True
    actual = retrieval_metrics(tied_blocks(np.zeros((30, 200)), relevant), (1, 10, 150)).summary()
    for k in (1, 10, 150):
        expected = np.mean([1 - comb(200 - r, k) / comb(200, k) for r in relevant.sum(axis=1)])
        assert actual[f"recall_at_{k}"] == pytest.approx(expected, abs=1e-13)
        assert actual[f"chance_at_{k}"] == pytest.approx(expected, abs=1e-13)
        assert actual[f"lift_at_{k}"] == pytest.approx(1.0)
    assert actual["tied_queries"] == 30


def test_coco_pairs_reach_their_known_recall(golden):
    pairs = np.load(golden("pairs") / "clip_coco.npz")
    # Stored in half precision, so unit norm only to 5e-4: as cosines one more pair stands in a top 5.
    image, text = (x / np.linalg.norm(x, axis=1, keepdims=True) for x in (pairs["image"], pairs["text"]))
    expected = {"image": (0.552, 0.808, 0.892), "text": (0.506, 0.766, 0.862)}
    for name, scores in (("image", image @ text.T), ("text", text @ image.T)):
        actual = retrieval_metrics(tied_blocks(scores, np.eye(500, dtype=bool)), (1, 5, 10)).summary()
        assert [actual[f"recall_at_{k}"] for k in (1, 5, 10)] == pytest.approx(expected[name], abs=1e-9)


def test_candidates_left_out_are_no_competition():
    scores = np.array([[0.9, 0.5, 0.5], [0.1, 0.2, 0.3]])
    relevant = np.array([[True, True, False], [False, True, False]])
    others = np.array([[False, True, True], [True, True, False]])
    actual = retrieval_metrics(tied_blocks(scores, relevant, others), (1,)).per_query
    np.testing.assert_array_equal(actual["recall_at_1"], [0.5, 1.0])
    np.testing.assert_array_equal(actual["tied"], [1.0, 0.0])
    np.testing.assert_array_equal(actual["chance_at_1"], [0.5, 0.5])


def test_queries_without_a_relevant_candidate_are_counted_not_scored():
    relevant = [[False, False], [True, False]]
    actual = retrieval_metrics(tied_blocks([[0.1, 0.2], [0.3, 0.2]], relevant), (1, 5))
    assert np.isnan(actual.per_query["reciprocal_rank"][0])
    summary = actual.summary()
    assert (summary["recall_at_1"], summary["mrr"], summary["unscored_queries"]) == (1.0, 1.0, 1.0)


def test_relevant_documents_that_were_not_ranked_score_zero_with_an_unknown_rank():
    actual = retrieval_metrics(tied_blocks([[0.5]], [[False]], n_relevant=[2]), (1,))
    assert (actual.per_query["average_precision"][0], actual.per_query["recall_at_1"][0]) == (0.0, 0.0)
    assert actual.summary()["median_rank"] == np.inf


@pytest.mark.parametrize("shape", [(0, 0), (0, 3), (2, 0)])
def test_empty_tables_give_nan_not_a_crash(shape):
    actual = retrieval_metrics(tied_blocks(np.empty(shape), np.empty(shape, bool)), (1, 5)).summary()
    assert np.isnan([actual["recall_at_1"], actual["map"], actual["median_rank"], actual["lift_at_5"]]).all()
    assert actual["unscored_queries"] == shape[0]


def test_a_resample_of_queries_equals_repeating_them():
    draw = np.random.default_rng(4)
    scores, relevant = np.round(draw.random((15, 40)), 1), draw.random((15, 40)) < 0.05
    weights = draw.integers(0, 4, (6, 15))
    actual = retrieval_metrics(tied_blocks(scores, relevant), (1, 10)).summary(weights)
    for r, counts in enumerate(weights):
        rows = np.repeat(np.arange(15), counts)
        expected = retrieval_metrics(tied_blocks(scores[rows], relevant[rows]), (1, 10)).summary()
        for name, value in expected.items():
            assert actual[name][r] == pytest.approx(value, abs=1e-12, nan_ok=True), name


def test_median_rank_is_the_median_of_the_expected_ranks():
    scores, relevant = [[3, 2, 1], [3, 2, 2], [1, 2, 3], [1, 1, 1]], [[1, 0, 0], [0, 1, 0], [1, 0, 0], [0, 1, 1]]
    actual = retrieval_metrics(tied_blocks(scores, relevant))
    np.testing.assert_allclose(actual.per_query["rank"], [1, 2.5, 3, 4 / 3])
    assert actual.summary()["median_rank"] == pytest.approx(np.median([1, 2.5, 3, 4 / 3]))


def test_unusable_input_says_what_was_expected():
    with pytest.raises(InputError, match="one shape"):
        tied_blocks([[0.1, 0.2]], [[True]])
    with pytest.raises(InputError, match="NaN"):
        tied_blocks([[np.nan]], [[True]])
    with pytest.raises(InputError, match="at least the number of ranked relevant"):
        tied_blocks([[0.1, 0.2]], [[True, True]], n_relevant=[1])
