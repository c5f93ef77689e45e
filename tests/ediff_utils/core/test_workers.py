"""Work in other processes, and what becomes of a dataset when those are killed or cannot write."""

from __future__ import annotations

import multiprocessing
import os
import resource
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
from dataset_runs import NAMES, SETTINGS, checksums, make_table, run, stopped_in

from ediff_utils.bloch.dataset.manifest import read_log, read_manifest
from ediff_utils.bloch.dataset.reading import read_patterns
from ediff_utils.bloch.dataset.writing import read_report
from ediff_utils.core.errors import UserError
from ediff_utils.core.paths import Run
from ediff_utils.core.workers import run_tasks

#: Long enough to be killed in: 40 blocks, some 20 shards.
LONG = SETTINGS.model_copy(update={"orientations": 20})
SIMULATE = partial(run, settings=LONG, block_size=1, shard_bytes=30_000)
NOBODY = 65534


@pytest.fixture(scope="module")
def crystals() -> pd.DataFrame:
    return make_table(8)


@pytest.fixture(scope="module")
def uninterrupted(crystals, tmp_path_factory) -> Path:
    """Simulated in this process, which leaves numba's cache filled for all others."""
    folder = tmp_path_factory.mktemp("uninterrupted") / "patterns"
    SIMULATE(crystals, folder)
    return folder


@pytest.fixture(scope="module")
def fork_server() -> multiprocessing.context.BaseContext:
    """Processes of their own that need not import everything anew."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["ediff_utils.bloch.dataset.writing"])
    return context


def work(prepare: Callable[[], None], simulate: Callable, outcome) -> None:
    """In a process group of its own; sends what was said at the end."""
    os.setsid()
    prepare()
    try:
        simulate()
    except UserError as error:
        outcome.send(str(error))
    else:
        outcome.send("done")


class Worker:
    """A real run of :func:`simulate_dataset` that can be looked at, and killed, from here."""

    def __init__(self, context, simulate: Callable, prepare: Callable = int) -> None:
        self.started = time.time_ns()
        self.outcome, theirs = context.Pipe(duplex=False)
        self.process = context.Process(target=work, args=(prepare, simulate, theirs))
        self.process.start()
        theirs.close()

    def wait_for(self, folder: Path, pattern: str, count: int) -> None:
        """Until that many files are there which this run has made."""
        while sum(self._is_own(path) for path in folder.glob(pattern)) < count:
            assert self.process.is_alive()
            time.sleep(0.001)

    def _is_own(self, path: Path) -> bool:
        try:
            return path.stat().st_mtime_ns > self.started
        except FileNotFoundError:
            return False

    def kill(self) -> None:
        os.killpg(self.process.pid, signal.SIGKILL)
        self.process.join()

    def say(self) -> str:
        """What it says at the end."""
        assert self.outcome.poll(120)
        said = self.outcome.recv()
        self.process.join()
        return said


def test_killed_again_and_again_it_ends_with_the_same_files(
    crystals, uninterrupted, fork_server, tmp_path
):
    """While blocks are made and while they are joined, with worker processes and without."""
    folder = tmp_path / "patterns"
    moments = [
        (1, "manifest.json", 1),
        (1, "blocks/block-*", 1),
        (2, "blocks/block-*", 3),
        (1, "blocks/block-*", 2),
        (1, "part-*", 1),
        (1, "part-*", 3),
    ]
    delays = np.random.default_rng(20240229).uniform(0, 0.02, len(moments))
    left = []
    for (jobs, pattern, count), delay in zip(moments, delays, strict=True):
        settings = LONG.model_copy(update={"jobs": jobs})
        worker = Worker(fork_server, partial(SIMULATE, crystals, folder, settings=settings))
        try:
            worker.wait_for(folder, pattern, count)
            time.sleep(delay)
        finally:
            worker.kill()
        assert worker.process.exitcode == -signal.SIGKILL
        for reader in (read_patterns, read_report):
            with pytest.raises(UserError, match="not finished; simulate again to go on"):
                reader(folder)
        left.append(len(list(folder.glob("blocks/block-*"))))
    # Each went on from what the ones before had left.
    assert left == sorted(left)
    assert 0 < left[1] < left[2] < left[3] < left[4] == left[5] == 40
    assert Worker(fork_server, partial(SIMULATE, crystals, folder)).say() == "done"
    assert len(list(folder.glob("part-*"))) > 5
    assert checksums(folder) == checksums(uninterrupted)
    # Nothing was done twice but what was under way when it was killed.
    done = read_log(folder)["patterns"].sum()
    assert done <= read_manifest(folder)["patterns"] == 40 * 20 * 2


def limit_files(size: int) -> None:
    """As if the disk were full for any file that grows beyond this."""
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))


@pytest.mark.parametrize(
    ("known", "room", "file"),
    [("crystals.parquet", 1.05, "blocks/block-"), ("part-*", 0.95, "part-")],
    ids=["blocks", "shards"],
)
def test_a_full_disk_is_one_line_and_it_goes_on_when_there_is_room(
    crystals, uninterrupted, fork_server, tmp_path, known, room, file
):
    limit = int(room * max(path.stat().st_size for path in uninterrupted.glob(known)))
    folder = tmp_path / "patterns"
    simulate = partial(SIMULATE, crystals, folder)
    said = Worker(fork_server, simulate, partial(limit_files, limit)).say()
    assert said.startswith(f"{folder}/{file}")
    assert ".parquet: cannot be written: " in said
    assert "File too large" in said
    assert "\n" not in said
    assert not list(folder.rglob("*.partial"))
    for path in folder.rglob("*.parquet"):
        # Whole, all of it.
        pq.ParquetFile(path).read()
    SIMULATE(crystals, folder)
    assert checksums(folder) == checksums(uninterrupted)


@pytest.fixture
def open_folder() -> Iterator[Path]:
    """A folder that everybody may enter, as pytest's own is not."""
    with tempfile.TemporaryDirectory() as name:
        Path(name).chmod(0o755)
        yield Path(name)


def become_nobody(elsewhere: Path) -> None:
    """Where it is root that runs the tests: root may write everywhere."""
    # Before, since nobody cannot see the cache of what is compiled.
    run(make_table(), elsewhere)
    if os.getuid() == 0:
        os.setgroups([])
        os.setgid(NOBODY)
        os.setuid(NOBODY)


@pytest.mark.parametrize(
    ("locked", "file"),
    [
        ({"": 0o555, "blocks": 0o555}, "crystals.parquet"),
        ({"blocks": 0o555}, "blocks/block-"),
        ({"log.jsonl": 0o444}, "log.jsonl"),
        ({"blocks/.lock": 0o444}, "blocks/.lock"),
    ],
    ids=["folder", "blocks", "log", "lock"],
)
def test_lost_permission_is_one_line_and_it_goes_on_when_it_is_back(
    fork_server, tmp_path, open_folder, monkeypatch, locked, file
):
    folder = open_folder / "patterns"
    with stopped_in(monkeypatch, "_write_block", after=2):
        run(make_table(), folder)
    free = {"": 0o777, "blocks": 0o777, "log.jsonl": 0o666, "blocks/.lock": 0o666}
    for name, mode in (free | locked).items():
        (folder / name).chmod(mode)
    before = set(folder.rglob("*"))
    simulate = partial(run, make_table(), folder)
    said = Worker(fork_server, simulate, partial(become_nobody, tmp_path / "warm")).say()
    assert said.startswith(f"{folder}/{file}")
    assert ": cannot be written: " in said
    assert said.endswith("Permission denied")
    assert "\n" not in said
    assert not list(folder.rglob("*.partial"))
    assert before <= set(folder.rglob("*"))
    back = {"": 0o755, "blocks": 0o755, "log.jsonl": 0o644, "blocks/.lock": 0o644}
    for name, mode in back.items():
        (folder / name).chmod(mode)
    run(make_table(), folder)
    run(make_table(), tmp_path / "whole")
    assert checksums(folder) == checksums(tmp_path / "whole")


def test_blocks_that_are_a_file(tmp_path):
    (tmp_path / "patterns").mkdir()
    (tmp_path / "patterns" / "blocks").write_text("")
    with pytest.raises(UserError, match=r"blocks/\.lock: cannot be written"):
        run(make_table(), tmp_path / "patterns")
    (tmp_path / "patterns" / "blocks").unlink()
    assert run(make_table(), tmp_path / "patterns").n_patterns == len(NAMES) * 6


class TestTasks:
    @pytest.mark.parametrize("jobs", [1, 2])
    def test_each_is_done_once(self, jobs):
        tasks = [(number, 7) for number in range(30)]
        assert sorted(run_tasks(divmod, tasks, jobs=jobs)) == sorted(
            divmod(i, 7) for i in range(30)
        )

    def test_nothing_to_do_asks_nobody(self):
        assert list(run_tasks(divmod, [], cluster="tcp://192.0.2.1:1")) == []

    @pytest.mark.parametrize("jobs", [1, 2])
    def test_an_error_comes_as_it_is(self, jobs):
        with pytest.raises(UserError, match=r"^run '../x': expected letters.*only$"):
            list(run_tasks(Run, [("../x",)], jobs=jobs))

    def test_a_worker_that_is_killed_is_one_line(self):
        pids = set(run_tasks(os.getpid, [()] * 20, jobs=2)) - {os.getpid()}
        results = run_tasks(time.sleep, [(0.1,)] * 40, jobs=2)
        next(results)
        os.kill(min(pids), signal.SIGKILL)
        with pytest.raises(UserError, match=r"^jobs: a worker process was killed.*run the same"):
            list(results)
        assert sorted(run_tasks(divmod, [(1, 1), (5, 2)], jobs=2)) == [(1, 0), (2, 1)]


def test_a_second_run_on_the_same_folder_is_kept_off(tmp_path):
    crystals, folder = make_table(1), tmp_path / "patterns"
    (folder / "blocks").mkdir(parents=True)
    program = (
        "import sys, time\nfrom filelock import FileLock\n"
        "with FileLock(sys.argv[1]):\n    print('held', flush=True)\n    time.sleep(60)\n"
    )
    holder = subprocess.Popen(
        [sys.executable, "-c", program, folder / "blocks" / ".lock"],
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert holder.stdout.readline() == "held\n"
        with pytest.raises(UserError, match="another run is at work there"):
            run(crystals, folder)
    finally:
        holder.kill()
        holder.wait()
        holder.stdout.close()
    # A process that is gone holds nothing.
    run(crystals, folder)
