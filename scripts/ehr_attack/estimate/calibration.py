"""How long the steps of training and attack take on this machine, measured on random inputs in a few seconds."""

import itertools
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

import torch
from safetensors.torch import save
from torch import Tensor, nn

from ehr_attack.attacks import BASELINE, CELLS, CHUNK_ROWS, MEASUREMENTS, SINGLE, entry_of, load_mode
from ehr_attack.attacks.engine import in_chunks, search
from ehr_attack.attacks.mode import Mode, SearchSettings
from ehr_attack.attacks.rows import Victims
from ehr_attack.devices import choose_device, make_deterministic, reuse_freed_memory
from ehr_attack.fitting import build_optimiser, training_step
from ehr_attack.inputs import channel_count
from ehr_attack.models import build_model, chosen_settings, inputs_of, label_of, settings_of
from ehr_attack.progress import Progress

_SECONDS = 0.8
_START = "import ehr_attack.training; from ehr_attack.devices import make_deterministic; make_deterministic(0)"
_STEPS_A_SEARCH = 12
_LAMBDAS = 8
_LIKE_A_BASELINE = "ista"


@dataclass(frozen=True)
class ModelCost:
    """A model on the training device. Seconds of a stay in training (forward, backward, update) and when predicted;
    bytes of its stored weights; bytes that the backward pass keeps of a row; the most that a GPU held (None: no GPU).
    """

    train_seconds: float
    predict_seconds: float
    weight_bytes: int
    activation_bytes: float
    gpu_bytes: int | None = None


@dataclass(frozen=True)
class AttackCost:
    """An attack mode on the attack device. Seconds of one update of a row, and of judging a finished row.

    rows_a_stay: None: as many as lambdas; updates: how many a row makes: until its first `flip`, `all` steps, `two` (a
    baseline), or one a value and level that is tried (`tries`).
    """

    step_seconds: float
    row_seconds: float
    gpu_bytes: int | None = None
    rows_a_stay: int | None = None
    updates: Literal["flip", "all", "two", "tries"] = "flip"


@dataclass(frozen=True)
class Calibration:
    """start_seconds: from nothing to a process that can compute. attacks: by model and mode.

    *_device: torch's name of the kind of device; chunk_rows: rows attacked at once; gpus: CUDA devices that are there.
    """

    start_seconds: float
    models: Mapping[str, ModelCost]
    attacks: Mapping[tuple[str, str], AttackCost]
    train_device: str
    attack_device: str
    chunk_rows: int
    gpus: int


def calibrate(config: Mapping[str, Any], variables: int) -> Calibration:
    """Measure on the devices that `config` chooses, one thread as the jobs do; variables: values of an hour.

    Raises UserError when a device that the config asks for is not there.
    """
    training, attack = config["training"], config["attack"]
    train_device = choose_device(training["device"], "training.device")
    attack_device = choose_device(attack["device"], "attack.device")
    make_deterministic(0)
    reuse_freed_memory()
    hours = config["features"]["window_hours"]
    chunk_rows = attack["chunk_rows"] or CHUNK_ROWS[attack_device.type]
    own = {name: settings_of(label_of(name), training) for name in training["models"]}
    channels = {name: channel_count(inputs_of(name, own[name]["inputs"]), variables) for name in own}
    models = {name: _measure_model(name, hours, channels[name], own[name], train_device) for name in own}
    attacks = {
        (model, mode): _measure_attack(model, mode, hours, channels[model], attack, chunk_rows, attack_device)
        for model, mode in itertools.product(training["models"], attack["modes"])
    }
    return Calibration(
        start_seconds=_start_seconds(),
        models=models,
        attacks=attacks,
        train_device=train_device.type,
        attack_device=attack_device.type,
        chunk_rows=chunk_rows,
        gpus=torch.cuda.device_count(),
    )


def _start_seconds() -> float:
    """A second process finds the libraries in the file cache, as most jobs do."""
    start = time.perf_counter()
    subprocess.run([sys.executable, "-c", _START], check=True)
    return time.perf_counter() - start


def _measure_model(
    name: str, hours: int, variables: int, settings: Mapping[str, Any], device: torch.device
) -> ModelCost:
    model = build_model(name, variables).to(device)
    optimiser = build_optimiser(model, chosen_settings(model, settings))
    rows = settings["batch_size"]
    inputs, lengths, labels = _random_stays(rows, hours, variables, device)

    def train() -> None:
        training_step(model, inputs, lengths, labels, optimiser, None, settings["precision"])

    @torch.no_grad()
    def predict() -> None:
        model.eval()
        model(inputs, lengths)
        model.train()

    _forget_peak(device)
    train_seconds = _seconds_of(train, device) / rows
    return ModelCost(
        train_seconds=train_seconds,
        predict_seconds=_seconds_of(predict, device) / rows,
        weight_bytes=len(save({key: value.cpu().contiguous() for key, value in model.state_dict().items()})),
        activation_bytes=_kept_bytes(model, inputs, lengths) / rows,
        gpu_bytes=_peak(device),
    )


def _measure_attack(
    model_name: str,
    mode_name: str,
    hours: int,
    variables: int,
    settings: Mapping[str, Any],
    chunk_rows: int,
    device: torch.device,
) -> AttackCost:
    model, kind = build_model(model_name, variables).to(device), entry_of(mode_name).kind
    mode = load_mode(mode_name if kind in (CELLS, MEASUREMENTS) else _LIKE_A_BASELINE)
    _forget_peak(device)
    # One step of a baseline costs what one of a search does; trying a value, a forward pass.
    if kind == SINGLE:
        step_seconds = _margin_seconds(model, hours, variables, chunk_rows, device)
    else:
        step_seconds = _step_seconds(model, mode, hours, variables, settings["rate"], chunk_rows, device)
    judge_device = torch.device("cpu") if device.type == "mps" else device
    judge = build_model(model_name, variables).to(judge_device).double()
    searched: Literal["flip", "all"] = "flip" if mode.stops_at_flip else "all"
    return AttackCost(
        step_seconds=step_seconds,
        # Two margins in float64: of the change as found, and of the feasible one.
        row_seconds=2 * _margin_seconds(judge, hours, variables, chunk_rows, judge_device),
        gpu_bytes=_peak(device),
        rows_a_stay=None if kind == CELLS and mode.lambda_factor(settings["rate"]) is not None else 1,
        updates={BASELINE: "two", SINGLE: "tries"}.get(kind, searched),  # type: ignore[arg-type]
    )


def _step_seconds(
    model: nn.Module, mode: Mode, hours: int, variables: int, rate: float, chunk_rows: int, device: torch.device
) -> float:
    """Seconds of one update of a row in a search."""
    stays = -(-chunk_rows // _LAMBDAS)
    inputs, lengths, labels = _random_stays(stays, hours, variables, device)
    victims = Victims(inputs, lengths, labels, torch.ones_like(inputs, dtype=torch.bool))
    endless = endless_search(rate, chunk_rows)

    def attack() -> None:
        with Progress("calibration", stays * _LAMBDAS, "rows") as progress:
            for _ in search(model, victims, mode, endless, progress):
                pass

    return _seconds_of(attack, device) / (stays * _LAMBDAS * _STEPS_A_SEARCH)


def _margin_seconds(model: nn.Module, hours: int, variables: int, chunk_rows: int, device: torch.device) -> float:
    """Seconds of the margin of a row, without a gradient."""
    model.eval()
    inputs, lengths, labels = _random_stays(chunk_rows, hours, variables, device)
    inputs = inputs.to(next(model.parameters()).dtype)
    return _seconds_of(lambda: in_chunks(model, inputs, lengths, labels, chunk_rows), device) / chunk_rows


def endless_search(rate: float, chunk_rows: int) -> SearchSettings:
    """A search in which every row makes every update: no margin is large enough, no threshold keeps a row at zero."""
    return SearchSettings((1e-12,) * _LAMBDAS, _STEPS_A_SEARCH, rate, float("inf"), chunk_rows)


def _random_stays(rows: int, hours: int, variables: int, device: torch.device) -> tuple[Tensor, Tensor, Tensor]:
    """Inputs (rows, hours, variables) in [0, 1], lengths and labels (rows,)."""
    inputs = torch.rand(rows, hours, variables, device=device)
    return inputs, torch.full((rows,), hours, device=device), torch.arange(rows, device=device) % 2


def _seconds_of(work: Callable[[], object], device: torch.device) -> float:
    """The median time of `work`, after one call to warm up, repeated for about _SECONDS."""
    work()
    times: list[float] = []
    while sum(times) < _SECONDS:
        _synchronise(device)
        start = time.perf_counter()
        work()
        _synchronise(device)
        times.append(time.perf_counter() - start)
    return statistics.median(times)


def _kept_bytes(model: nn.Module, inputs: Tensor, lengths: Tensor) -> int:
    """Bytes of the tensors that autograd keeps for a backward pass to the inputs, each storage counted once."""
    kept: dict[int, int] = {}

    def pack(tensor: Tensor) -> Tensor:
        kept[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        output = model(inputs.detach().requires_grad_(True), lengths)
        del output
    return sum(kept.values())


def _synchronise(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    elif device.type == "mps":
        torch.mps.synchronize()


def _forget_peak(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)


def _peak(device: torch.device) -> int | None:
    return torch.cuda.max_memory_allocated(device) if device.type == "cuda" else None
