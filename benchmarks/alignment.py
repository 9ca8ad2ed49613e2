"""Time exact alignment beside a flat FAISS search and the N x N method, and show that its memory does not grow as N^2.

Run from the project's root: ``python -m benchmarks.alignment [N ...]`` (by default 22,185). ``python -m benchmarks
scaling`` measures how its time grows with N. ``--data near|shared|random`` uses other vectors. FAISS is timed when it
is installed (``pip install faiss-cpu``). Every subject runs in its own process, which gives its own peak memory. Both
truths (exam, label vector), both directions, 512 dimensions.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import subprocess
import sys
import time
from collections.abc import Callable

import numpy as np
import psutil

WIDTH, USUAL, DEPTH = 512, 22_185, 100
# The N x N method holds some 27 N^2 bytes. Where it does not fit, it is measured at the largest N that fits and
# extrapolated by N^2 (its sort: N^2 log N).
SQUARE_BYTES, RESERVE = 27, 4 * 2**30

Inputs = tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]


def synthetic(n: int, kind: str = "clip", seed: int = 0) -> Inputs:
    """Draw images and texts float32 (N, 512), exams and label vectors as numbers (N,).

    Two volumes an exam; 18 findings of CT-RATE's prevalences. Kinds: ``clip`` has findings, exam and noise in every
    vector, all distinct; ``shared`` gives the volumes of an exam one report vector, as CT-RATE does; ``near`` gives
    them vectors that differ by rounding only; ``random`` is noise alone.
    """
    draw = np.random.default_rng(seed)
    exams = np.arange(n) // 2
    labels = (
        draw.random((n // 2 + 1, 18))
        < np.linspace(0.07, 0.45, 18) * draw.choice([0, 1.12], (n // 2 + 1, 1), p=[0.11, 0.89])
    )[exams]
    codes = labels @ (1 << np.arange(18))
    if kind == "random":
        return (*(draw.standard_normal((n, WIDTH), dtype=np.float32) for _ in range(2)), exams, codes)
    directions = draw.standard_normal((18, WIDTH), dtype=np.float32)
    latent = draw.standard_normal((n // 2 + 1, WIDTH), dtype=np.float32)[exams]
    centre = draw.standard_normal(WIDTH, dtype=np.float32)
    sides = []
    for _ in range(2):
        side = 2 * centre + labels.astype(np.float32) @ directions / 2 + latent / 2
        noise = draw.standard_normal((n, WIDTH), dtype=np.float32)
        sides.append(side + {"clip": 1.0, "shared": 1.0, "near": 2e-7}[kind] * noise)
    if kind == "shared":
        sides[1] = sides[1][exams * 2]
    return sides[0], sides[1], exams, codes


def ours(image: np.ndarray, text: np.ndarray, exams: np.ndarray, codes: np.ndarray) -> dict[str, float]:
    """Compute all metrics of both truths."""
    from ctbench_core.alignment import align

    return align(image, text, exams, codes).metrics


def faiss_flat(image: np.ndarray, text: np.ndarray, exams: np.ndarray, codes: np.ndarray) -> dict[str, float]:
    """Search the 100 nearest exactly, both ways: no ranks, no ties, no histogram."""
    import faiss

    sides = [side / np.linalg.norm(side, axis=1, keepdims=True) for side in (image, text)]
    for queries, gallery in (sides, sides[::-1]):
        index = faiss.IndexFlatIP(WIDTH)
        index.add(gallery)
        index.search(queries, DEPTH)
    return {}


def square(image: np.ndarray, text: np.ndarray, exams: np.ndarray, codes: np.ndarray) -> dict[str, float]:
    """Compute as scripts do: one N x N similarity, one argsort per direction, hits by integer ids."""
    import torch

    sides = [torch.nn.functional.normalize(torch.from_numpy(side), dim=1) for side in (image, text)]
    similarity = sides[0] @ sides[1].T
    metrics = {}
    for way, matrix in (("v_to_t", similarity), ("t_to_v", similarity.T)):
        order = matrix.argsort(dim=1, descending=True)
        for truth, ids in (("", torch.from_numpy(exams)), ("semantic_", torch.from_numpy(codes))):
            hits = ids[order] == ids[:, None]
            for k in (1, 5, 10, 50, 100):
                metrics[f"{truth}{way}_recall_at_{k}"] = float(hits[:, :k].any(1).float().mean())
            rank = torch.arange(1, hits.shape[1] + 1)
            metrics[f"{truth}{way}_mrr"] = float((1 / (hits.float().argmax(1) + 1)).mean())
            precision = hits.cumsum(1, dtype=torch.int32) / rank
            metrics[f"{truth}{way}_map"] = float(((precision * hits).sum(1) / hits.sum(1)).mean())
            gain = (hits[:, :50] / torch.log2(rank[:50] + 1)).sum(1)
            ideal = (1 / torch.log2(rank[:50] + 1)).cumsum(0)[hits.sum(1).clamp(max=50) - 1]
            metrics[f"{truth}{way}_ndcg_at_50"] = float((gain / ideal).mean())
    same = torch.from_numpy(codes)[:, None] == torch.from_numpy(codes)
    metrics["semantic_mean_paired_similarity"] = float(similarity[same].mean())
    metrics["mean_paired_similarity"] = float(similarity.diagonal().mean())
    return metrics


SUBJECTS: dict[str, Callable[..., dict[str, float]]] = {"ctbench": ours, "FAISS flat": faiss_flat, "N x N": square}


def child(subject: str, n: int, kind: str) -> None:
    """Time one subject in this process and print the outcome as JSON."""
    from ctbench_core.alignment.job import peak_gib

    inputs = synthetic(n, kind)
    begin = time.perf_counter()
    metrics = SUBJECTS[subject](*inputs)
    seconds = time.perf_counter() - begin
    shown = {name: value for name, value in metrics.items() if name.endswith(("recall_at_10", "map"))}
    print(json.dumps({"seconds": seconds, "peak_gib": peak_gib(), "metrics": shown}))


def measure(subject: str, n: int, kind: str) -> dict[str, float]:
    """Run one subject in its own process."""
    command = [sys.executable, "-m", "benchmarks.alignment", str(n), "--child", subject, "--data", kind]
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(f"{subject} at N = {n}:\n{done.stderr}")
    return json.loads(done.stdout.splitlines()[-1])


def largest_square() -> int:
    """Return the largest N, in thousands, at which the N x N method fits into the free memory minus a reserve."""
    fits = int((max(psutil.virtual_memory().available - RESERVE, 0) / SQUARE_BYTES) ** 0.5)
    return max(fits // 1000 * 1000, 1000)


def subjects() -> list[str]:
    """Return the subjects that can run here."""
    if importlib.util.find_spec("faiss") is None:
        print("faiss-cpu is not installed: left out", file=sys.stderr)
        return [name for name in SUBJECTS if name != "FAISS flat"]
    return list(SUBJECTS)


def compare(n: int, kind: str) -> None:
    """Print every subject at one N, its ratio to ours, and its peak memory."""
    print(f"N = {n:,}, {kind} vectors, {WIDTH} dimensions, both truths, both directions")
    ours_s = 0.0
    for subject in subjects():
        held = min(n, largest_square()) if subject == "N x N" else n
        result = measure(subject, held, kind)
        seconds = result["seconds"] * (n / held) ** 2
        ours_s = ours_s or seconds
        note = f"  (measured at N = {held:,}: {result['seconds']:.1f} s)" if held < n else ""
        print(
            f"{subject:12s}{seconds:9.1f} s   ours / it {ours_s / seconds:6.2f}   {result['peak_gib']:6.2f} GiB{note}",
            flush=True,
        )


def main() -> None:
    """Parse the arguments and run."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("sizes", nargs="*", type=int)
    parser.add_argument("--data", default="clip", choices=["clip", "shared", "near", "random"])
    parser.add_argument("--child", choices=list(SUBJECTS))
    args = parser.parse_args()
    if args.child:
        child(args.child, args.sizes[0], args.data)
    else:
        for n in args.sizes or [USUAL]:
            compare(n, args.data)


if __name__ == "__main__":
    main()
