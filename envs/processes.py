"""Processes that work for a driver: one thread each, and none outlives it."""

import os
import threading
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context, parent_process
from multiprocessing.connection import wait
from typing import Any

import torch


def process_pool(
    processes: int, modules: list[str], begin: Callable[..., None], *arguments: Any
) -> ProcessPoolExecutor:
    """A pool of new processes.

    Args:
        processes: how many.
        modules: what all need, imported once for all of them.
        begin: called in each before its first work; picklable, and calls `begin_process`.
        arguments: what it is called with, picklable.
    """
    # Not forked from here: threads run. The server imports the modules.
    context = get_context("forkserver")
    context.set_forkserver_preload(modules)
    return ProcessPoolExecutor(processes, mp_context=context, initializer=begin, initargs=arguments)


def begin_process() -> None:
    """One thread (results do not depend on the machine), and no life without the driver."""
    torch.set_num_threads(1)
    threading.Thread(target=_end_with_the_driver, daemon=True).start()


def _end_with_the_driver() -> None:
    """A pool's process would wait for ever for work from a driver that was killed."""
    driver = parent_process()
    assert driver is not None
    wait([driver.sentinel])
    os._exit(1)
