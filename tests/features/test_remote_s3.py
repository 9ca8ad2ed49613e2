"""Features on S3, served by moto on this machine: packed, interrupted and resumed, a replaced object noticed."""

from __future__ import annotations

import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ctbench_core.features import FeatureMatrix, load_features

pytest.importorskip("s3fs")
boto3 = pytest.importorskip("boto3")
server = pytest.importorskip("moto.server")

COUNT = 40
VECTORS = np.random.default_rng(0).normal(size=(COUNT, 8)).astype(np.float32)


class _Stop(Exception):
    pass


@pytest.fixture
def client(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    moto = server.ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    moto.start()
    address = "http://{}:{}".format(*moto.get_host_and_port())
    access = {"AWS_ACCESS_KEY_ID": "any", "AWS_SECRET_ACCESS_KEY": "any", "AWS_DEFAULT_REGION": "us-east-1"}
    for name, value in (access | {"AWS_ENDPOINT_URL": address}).items():
        monkeypatch.setenv(name, value)
    found = boto3.client("s3", endpoint_url=address)
    found.create_bucket(Bucket="lab")
    for k, vector in enumerate(VECTORS):
        put(found, k, vector)
    yield found
    found.close()
    moto.stop()


def put(client: Any, k: int, vector: np.ndarray) -> None:
    content = io.BytesIO()
    np.save(content, vector)
    client.put_object(Bucket="lab", Key=f"features/{k}.npy", Body=content.getvalue())


def load(cache: Path, progress: Any = None) -> FeatureMatrix:
    names = [f"{k}.npy" for k in range(COUNT)]
    return load_features("s3://lab/features", names, cache=cache, mode="always", progress=progress)


@pytest.mark.slow
def test_s3_is_packed_resumed_and_checked(tmp_path: Path, client: Any) -> None:
    def stop(done: int, total: int) -> None:
        if done == COUNT // 2:
            raise _Stop

    with pytest.raises(_Stop):
        load(tmp_path, stop)
    copies = tmp_path / ".remote/s3/lab/features"
    times = {path.name: path.stat().st_mtime_ns for path in copies.glob("*.npy")}
    kept = [
        line.split('"')[1].rsplit("/", 1)[1] for line in (tmp_path / ".remote/s3/index.jsonl").read_text().splitlines()
    ]
    assert len(kept) == COUNT // 2
    found = load(tmp_path)
    np.testing.assert_array_equal(found.matrix[found.rows], VECTORS)
    assert all((copies / name).stat().st_mtime_ns == times[name] for name in kept)
    put(client, 7, VECTORS[7] + 1)
    found = load(tmp_path)
    assert found.files_read == 1
    np.testing.assert_array_equal(found.matrix[found.rows][7], VECTORS[7] + 1)
