"""Opens the cluster of --engine: the workers that audit hosts from other machines."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import TYPE_CHECKING

from fleetaudit.errors import ConfigError

if TYPE_CHECKING:
    from fleetaudit.engine.workers.cluster import Cluster


@contextlib.contextmanager
def open_cluster(url: str | None) -> Iterator[Cluster | None]:
    """Opens the cluster at an address of `option_values.parse_engine`, and closes it.

    Without an address there is none.

    Raises `ConfigError` if Dask is not installed, nobody answers, or no worker can take part.
    """
    if url is None:
        yield None
        return
    try:
        from fleetaudit.engine.workers.cluster import Cluster
    except ImportError as e:
        raise ConfigError(
            f"--engine needs Dask, which is not installed ({e.name})\n"
            "  install it, here and for the workers:  pip install 'fleetaudit[dask]'"
        ) from e
    with Cluster(url) as cluster:
        cluster.require_workers()
        yield cluster
