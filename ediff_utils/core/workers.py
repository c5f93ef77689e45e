"""The same work on this machine's cores or on a cluster."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, TypeVar

import joblib
from joblib.externals.loky.process_executor import TerminatedWorkerError
from threadpoolctl import threadpool_limits

from ediff_utils.core.errors import UserError, import_extra

if TYPE_CHECKING:
    from distributed import Client

R = TypeVar("R")

#: How often Dask starts a task again whose worker is gone, beyond what its own settings allow.
_RETRIES = 2


def run_tasks(
    function: Callable[..., R],
    tasks: Sequence[tuple],
    *,
    jobs: int = -1,
    cluster: str | Client = "",
) -> Iterator[R]:
    """Call a function on many arguments, and give the results as they come, in no order.

    The function is importable by the workers and bears being called twice with the same arguments.
    Work is done by ``jobs`` processes of this machine, -1 for one a core, or on a ``cluster``: a
    Dask scheduler's address or a client, whose workers must see the same files. A scheduler that is
    not there, or a worker that is gone for good, is a UserError.
    """
    if not tasks:
        return
    if cluster:
        yield from _run_on_dask(function, tasks, cluster)
        return
    try:
        with joblib.parallel_config("loky", n_jobs=jobs, inner_max_num_threads=1):
            yield from joblib.Parallel(return_as="generator_unordered")(
                joblib.delayed(function)(*arguments) for arguments in tasks
            )
    except TerminatedWorkerError:
        raise UserError(
            "jobs: a worker process was killed, perhaps for want of memory; run the same again to "
            "go on, with fewer jobs if it happens twice"
        ) from None


def _on_one_thread(function: Callable[..., R], *arguments: object) -> R:
    with threadpool_limits(1):
        return function(*arguments)


@contextmanager
def open_client(cluster: str | Client) -> Iterator[Client]:
    """Connect to a Dask scheduler at an address; a client that is given stays open.

    A UserError where there is no scheduler, or Dask is not installed.
    """
    distributed = import_extra("distributed")
    if not isinstance(cluster, str):
        yield cluster
        return
    try:
        # As the default one it would leave its mark on Dask where it cannot connect.
        client = distributed.Client(cluster, timeout="20s", set_as_default=False)
    except (OSError, ValueError) as error:
        detail = str(error).split("\n")[0]
        raise UserError(f"cluster: no Dask scheduler at {cluster}: {detail}") from None
    with client, client.as_current():
        yield client


def _run_on_dask(
    function: Callable[..., R], tasks: Sequence[tuple], cluster: str | Client
) -> Iterator[R]:
    with open_client(cluster) as client:
        from distributed import KilledWorker, as_completed

        futures = [
            client.submit(_on_one_thread, function, *task, pure=False, retries=_RETRIES)
            for task in tasks
        ]
        try:
            for future in as_completed(futures):
                yield future.result()
                future.release()
        except KilledWorker as error:
            raise UserError(f"cluster: a worker was lost again and again: {error}") from None
