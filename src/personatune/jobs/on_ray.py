"""The trainings of a plan on a Ray cluster: sent out as parcels, tried again when a machine goes, brought home."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Callable, Sequence
from typing import Any

from personatune.errors import ResourceError
from personatune.jobs.parcel import Brought, KilledError, Parcel, brought_home, packed, trained
from personatune.jobs.plan import Known, RayNeeds, Unit
from personatune.jobs.pool import AtWork, Ended, Standing, Stop

TRIES = 5
"""How often a training is begun anew whose machine or process was killed."""
_SHOWN = 4


def run_on_ray(
    units: Sequence[Unit],
    known: Known,
    needs: RayNeeds,
    told: Callable[[Standing], None],
    stop: Stop,
) -> list[Ended]:
    """Train all units on the cluster of RAY_ADDRESS, or on one begun here; return the end of each that was begun."""
    ray = _ray()
    began = not ray.is_initialized()
    if began:
        try:
            ray.init(log_to_driver=False, configure_logging=False)
        except (ConnectionError, ValueError, RuntimeError) as error:
            raise ResourceError(
                f"no Ray cluster answers: {str(error).splitlines()[0]}",
                fix="ray start --head   or leave RAY_ADDRESS empty for one on this machine",
            ) from error
    try:
        with contextlib.redirect_stdout(sys.stderr):  # Ray says on stdout what became of its machines
            return _all(ray, units, known, needs, told, stop)
    finally:
        if began:
            ray.shutdown()


def _all(
    ray: Any, units: Sequence[Unit], known: Known, needs: RayNeeds, told: Callable[[Standing], None], stop: Stop
) -> list[Ended]:
    task = ray.remote(
        num_cpus=needs.cpus, num_gpus=needs.gpus, max_retries=TRIES, retry_exceptions=[KilledError], max_calls=1
    )(_there)
    sent = {task.remote(packed(unit)): unit for unit in units}
    ended: list[Ended] = []
    while sent:
        if stop.asked:
            for one in sent:
                ray.cancel(one, force=True)
            return [*ended, *(Ended(unit, "paused") for unit in sent.values())]
        ready, _ = ray.wait(list(sent), timeout=0.3)
        for one in ready:
            unit = sent.pop(one)
            ended.append(_home(ray, one, unit, known))
        shown = [AtWork(unit, doing="on the cluster") for unit in list(sent.values())[:_SHOWN]]
        told(Standing(len(units), ended, shown))
    return ended


def _home(ray: Any, one: Any, unit: Unit, known: Known) -> Ended:
    try:
        where, brought = ray.get(one)
    except (ray.exceptions.RayError, KilledError) as error:
        told = str(error).strip().splitlines() or [type(error).__name__]
        return Ended(unit, "failed", error=f"the cluster gave up after {TRIES} more tries: {told[-1]}")
    if brought.error:
        return Ended(unit, "failed", error=brought.error)
    return Ended(unit, "finished", brought_home(unit, brought, known.source(unit), f"ray: {where}"))


def _there(parcel: Parcel) -> tuple[str, Brought]:
    """What a worker does."""
    return os.uname().nodename, trained(parcel)


def _ray() -> Any:
    try:
        os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
        import ray
    except ModuleNotFoundError as error:
        raise ResourceError(
            "Ray is not installed", fix="python -m pip install 'personatune[ray]'   or leave out: --on ray"
        ) from error
    return ray
