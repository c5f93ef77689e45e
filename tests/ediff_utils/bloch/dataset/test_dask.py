"""The same dataset from a cluster: a real one of two processes, one of which is lost."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import dask
import pandas as pd
import pytest
from dataset_runs import SETTINGS, checksums, make_table, run

from ediff_utils.bloch.dataset.manifest import read_log
from ediff_utils.bloch.dataset.reading import read_patterns
from ediff_utils.core.errors import UserError
from ediff_utils.core.workers import run_tasks

distributed = pytest.importorskip("distributed")


#: A block takes long enough for a worker to be caught at it.
SLOW = SETTINGS.model_copy(update={"orientations": 80, "q_max": 1.6})


@pytest.fixture(scope="module")
def crystals() -> pd.DataFrame:
    return make_table(4)


@pytest.fixture(scope="module")
def local(crystals, tmp_path_factory) -> Path:
    """Made without a cluster."""
    folder = tmp_path_factory.mktemp("local") / "patterns"
    run(crystals, folder, SLOW, block_size=1)
    return folder


@pytest.fixture(scope="module")
def cluster() -> Iterator[distributed.LocalCluster]:
    with distributed.LocalCluster(
        n_workers=2, threads_per_worker=1, processes=True, dashboard_address=None
    ) as cluster:
        yield cluster


@pytest.fixture(scope="module")
def client(cluster) -> Iterator[distributed.Client]:
    with distributed.Client(cluster) as client:
        yield client


def kill_once_there_is_work(pid: int, folder: Path, seen: list[int]) -> None:
    """Kill a process as soon as the first block is there; notes how many there are then."""
    for _ in range(60_000):
        blocks = len(list(folder.glob("blocks/block-*")))
        if blocks:
            os.kill(pid, signal.SIGKILL)
            seen.append(blocks)
            return
        time.sleep(0.001)


def test_a_lost_worker_costs_nothing(crystals, local, client, tmp_path):
    folder = tmp_path / "patterns"
    pids = client.run(os.getpid)
    assert len(set(pids.values()) - {os.getpid()}) == 2
    seen: list[int] = []
    arguments = (min(pids.values()), folder, seen)
    killer = threading.Thread(target=kill_once_there_is_work, args=arguments)
    killer.start()
    report = run(crystals, folder, SLOW, block_size=1, client=client)
    killer.join()
    # In the middle of it.
    assert seen
    assert seen[0] < 15
    assert report.n_patterns == 20 * 80 * 2
    assert report.failures.empty
    rows = read_patterns(folder, ["material_id", "pattern", "thickness"]).to_pandas()
    assert not rows.duplicated().any()
    assert checksums(folder) == checksums(local)
    # Every block is told of once, by whichever worker it was that ended it.
    assert read_log(folder)["patterns"].tolist() == [160] * 20 + [0]
    # The client is still its owner's.
    assert client.submit(pow, 2, 5).result() == 32


def test_a_cluster_can_be_named_by_its_address(crystals, local, cluster, tmp_path):
    folder = tmp_path / "patterns"
    settings = SLOW.model_copy(update={"cluster": cluster.scheduler_address})
    assert run(crystals, folder, settings, block_size=1).n_patterns == 20 * 80 * 2
    assert checksums(folder) == checksums(local)


def test_an_error_comes_as_it_is(client):
    with pytest.raises(ZeroDivisionError):
        list(run_tasks(divmod, [(5, 3), (1, 0)], cluster=client))
    assert list(run_tasks(divmod, [(5, 3)], cluster=client)) == [(1, 2)]


@pytest.mark.parametrize("address", ["tcp://127.0.0.1:9", "127.0.0.1:9", "nonsense://x:1"])
def test_no_cluster_there(crystals, tmp_path, monkeypatch, address):
    connect, before = distributed.Client, dask.config.get("scheduler", None)
    monkeypatch.setattr(
        distributed, "Client", lambda given, **how: connect(given, **(how | {"timeout": "1s"}))
    )
    settings = SETTINGS.model_copy(update={"cluster": address})
    with pytest.raises(UserError, match=f"^cluster: no Dask scheduler at {address}: ") as caught:
        run(crystals, tmp_path / "patterns", settings)
    assert "\n" not in str(caught.value)
    # Nor is Dask itself left waiting for one.
    assert dask.config.get("scheduler", None) == before
    # Without one it goes on here.
    assert run(crystals, tmp_path / "patterns").n_patterns == 20 * 6
