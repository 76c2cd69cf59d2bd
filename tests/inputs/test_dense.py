"""Tensors without plain values are named with what to do; arrays of every memory layout are taken everywhere."""

from __future__ import annotations

import warnings
from collections.abc import Callable

import numpy as np
import pytest
import torch
import torch.distributed
from torch import nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.masked import masked_tensor

import coinr
from coinr.codec import baselines
from coinr.sensitivity.calibration import measure_sensitivity
from coinr.signals.scene.lens import Lens
from coinr.signals.scene.signal import render_views
from coinr.signals.scene.views import check_views


class Named(torch.Tensor):
    """A subclass that changes no operation."""


class Scaled(torch.Tensor):
    """A subclass whose values are not those of its memory."""

    @classmethod
    def __torch_function__(cls, func, types, args=(), kwargs=None):
        made = super().__torch_function__(func, types, args, kwargs or {})
        return made.as_subclass(torch.Tensor).mul(2) if func is torch.Tensor.contiguous else made


def fake() -> torch.Tensor:
    with FakeTensorMode():
        return torch.ones(4, 4)


def freed() -> torch.Tensor:
    tensor = torch.ones(4, 4)
    tensor.untyped_storage().resize_(0)
    return tensor


UNPLAIN: dict[str, tuple[Callable[[], torch.Tensor], str]] = {
    "lazy parameter": (lambda: nn.LazyLinear(4).weight, "Uninitialized.*run the network"),
    "lazy buffer": (lambda: nn.LazyBatchNorm1d().running_mean, "Uninitialized.*run the network"),
    "fake": (fake, "FakeTensor.*no values"),
    "masked": (lambda: masked_tensor(torch.ones(4), torch.ones(4, dtype=torch.bool)), r"masked.*to_tensor\("),
    "subclass": (lambda: torch.ones(4).as_subclass(Scaled), "Scaled.*plain torch.Tensor"),
    "parameter of a subclass": (lambda: nn.Parameter(torch.ones(4).as_subclass(Scaled)), "Scaled.*plain torch.Tensor"),
    "nested": (lambda: torch.nested.nested_tensor([torch.ones(2), torch.ones(3)]), r"nested.*unbind\("),
    "jagged": (
        lambda: torch.nested.nested_tensor([torch.ones(2), torch.ones(3)], layout=torch.jagged),
        r"nested.*unbind\(",
    ),
    "quantized": (lambda: torch.quantize_per_tensor(torch.ones(4), 0.1, 0, torch.qint8), r"quantized \(qint8.*dequan"),
    "quantized by channel": (
        lambda: torch.quantize_per_channel(torch.ones(2, 2), torch.ones(2), torch.zeros(2), 0, torch.quint8),
        r"quantized \(quint8.*dequantize",
    ),
    "sparse": (lambda: torch.eye(4).to_sparse(), r"sparse_coo.*to_dense\("),
    "sparse rows": (lambda: torch.eye(4).to_sparse_csr(), r"sparse_csr.*to_dense\("),
    "meta": (lambda: nn.Linear(2, 2, device="meta").weight, r"meta device.*to_empty\("),
    "freed": (freed, "memory"),
    "functional": (lambda: torch._to_functional_tensor(torch.ones(4)), "transform"),
}


@pytest.fixture(params=UNPLAIN)
def unplain(request: pytest.FixtureRequest) -> tuple[torch.Tensor, str]:
    make, message = UNPLAIN[request.param]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # most of these kinds are in beta
        return make(), message


def never(*_: object) -> float:
    raise AssertionError("called with a state dict that cannot be coded")


def test_tensors_without_plain_values_are_named_with_what_to_do(unplain):
    tensor, message = unplain
    sd = {"net.0.weight": torch.ones(4, 4), "net.1.weight": tensor}
    readers = [
        lambda: coinr.encode_state_dict(sd),
        lambda: coinr.encode_state_dict(sd, profile="lossless", lossless=["*"]),
        lambda: coinr.encode_state_dict({"net.1.weight": torch.ones(4, 4)}, base=sd),
        lambda: coinr.decode_state_dict(coinr.encode_state_dict({}), base=sd),
        lambda: coinr.search(sd, never, min_score=0.0),
        lambda: coinr.refine(sd, never, steps=1),
        lambda: measure_sensitivity(lambda: {}, sd),
        lambda: baselines.encode(sd, "fp16"),
    ]
    for read in readers:
        with pytest.raises(coinr.StateDictError, match=message) as caught:
            read()
        assert "'net.1.weight'" in str(caught.value)


def test_nothing_is_left_of_a_file_that_cannot_be_saved(tmp_path):
    with pytest.raises(coinr.StateDictError, match=r"'0\.weight'"):
        coinr.save(tmp_path / "lazy.coinr", nn.Sequential(nn.LazyLinear(4)).state_dict())
    assert not list(tmp_path.iterdir())


def test_distributed_tensors_are_named():
    from torch.distributed.tensor import DeviceMesh, Shard, distribute_tensor  # takes half a second

    torch.distributed.init_process_group("gloo", store=torch.distributed.HashStore(), rank=0, world_size=1)
    try:
        tensor = distribute_tensor(torch.ones(4, 4), DeviceMesh("cpu", [0]), [Shard(0)])
        for value in (tensor, nn.Parameter(tensor)):
            with pytest.raises(coinr.StateDictError, match=r"'w' is a DTensor.*full_tensor\("):
                coinr.encode_state_dict({"w": value})
    finally:
        torch.distributed.destroy_process_group()


@pytest.mark.parametrize("transform", [torch.func.vmap, torch.func.grad, torch.func.functionalize])
def test_tensors_of_a_function_transform_are_named(transform):
    def encoded(w):
        with pytest.raises(coinr.StateDictError, match=r"'w'.*outside"):
            coinr.encode_state_dict({"w": w})
        return w.sum()

    transform(encoded)(torch.ones(4))


def test_subclasses_that_change_no_operation_and_parameters_are_plain():
    w = torch.linspace(-1, 1, 12).reshape(3, 4)
    sd = {
        "subclass": w.clone().as_subclass(Named),
        "parameter": nn.Parameter(w.clone()),
        "both": nn.Parameter(w.clone().as_subclass(Named)),
        "buffer": nn.Buffer(w.clone()),
        "part of a graph": (w.clone().requires_grad_() * 1.0),
    }
    for tensor in coinr.decode_state_dict(coinr.encode_state_dict(sd, profile="lossless")).values():
        assert type(tensor) is torch.Tensor
        assert torch.equal(tensor, w)


def test_masked_and_structured_arrays_are_named_with_what_to_do():
    cases = [
        (np.ma.masked_array([1.0, 2.0], [False, True]), r"masked array: pass \.filled"),
        (np.zeros(3, [("x", "f4"), ("y", "f4")]), r"structured array: pass its fields \(x, y\)"),
        (np.ones(3, np.longdouble), "float128|longdouble|float64"),
    ]
    for array, message in cases:
        with pytest.raises(coinr.StateDictError, match=message) as caught:
            coinr.encode_state_dict({"w": array})
        assert "'w'" in str(caught.value)


def every_memory(array: np.ndarray) -> dict[str, np.ndarray]:
    """The same values in memory of every kind."""
    fixed = array.copy()
    fixed.flags.writeable = False
    raw = np.empty(array.nbytes + 1, np.uint8)
    odd = raw[1:].view(array.dtype).reshape(array.shape)
    odd[...] = array
    return {
        "foreign byte order": array.astype(array.dtype.newbyteorder()),
        "read only": fixed,
        "by columns": np.asfortranarray(array),
        "with gaps": np.repeat(array, 2, axis=-1)[..., ::2],
        "backwards": np.ascontiguousarray(array[::-1])[::-1],
        "not aligned": odd,
        "tensor": torch.from_numpy(array),
        "tensor of a graph": torch.from_numpy(array).clone().requires_grad_(array.dtype.kind == "f"),
    }


def assert_alike(make: Callable[[object], object], array: np.ndarray) -> None:
    want = make(array)
    for kind, same in every_memory(array).items():
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            got = make(same)
        np.testing.assert_array_equal(np.asarray(got), np.asarray(want), err_msg=kind)


@pytest.fixture
def weights(generator: np.random.Generator) -> np.ndarray:
    return generator.normal(size=(6, 8)).astype(np.float32)


def test_state_dicts_and_bases_in_every_memory(weights):
    assert_alike(lambda w: np.frombuffer(coinr.encode_state_dict({"w": w}, tolerance=0.05), np.uint8), weights)
    near = weights + np.float32(1e-3)
    assert_alike(lambda w: np.frombuffer(coinr.encode_state_dict({"w": near}, base={"w": w}), np.uint8), weights)
    blob = coinr.encode_state_dict({"w": near}, base={"w": weights})
    assert_alike(lambda w: coinr.decode_state_dict(blob, base={"w": w})["w"].numpy(), weights)


def test_calibrations_in_every_memory(weights, generator):
    inputs = generator.normal(size=(30, 8)).astype(np.float32)
    module = nn.Linear(8, 6, bias=False)
    for calibrate in (lambda x: lambda: {"weight": x}, lambda x: (module, x), lambda x: (module, [x])):
        assert_alike(
            lambda x, c=calibrate: measure_sensitivity(c(x), {"weight": weights}).tensors["weight"].input_covariance,
            inputs,
        )

        def encoded(w, c=calibrate):
            return np.frombuffer(coinr.encode_state_dict({"weight": w}, calibrate=c(inputs)), np.uint8)

        assert_alike(encoded, weights)


def test_layers_inputs_of_every_dtype_calibrate_or_are_named():
    weights = {"w": torch.randn(4, 4, generator=torch.Generator().manual_seed(0))}
    inputs = torch.eye(4, dtype=torch.complex64)
    expected = measure_sensitivity(lambda: {"w": inputs}, weights).tensors["w"].input_covariance
    for values in (inputs.conj(), torch.eye(4).to(torch.float8_e5m2)):
        np.testing.assert_allclose(
            measure_sensitivity(lambda v=values: {"w": v}, weights).tensors["w"].input_covariance, expected
        )
    bits = torch.zeros(4, 4, dtype=torch.bits8)
    for calibrate in (lambda: {"w": bits}, (nn.Linear(4, 4, bias=False), bits)):
        with pytest.raises(coinr.InputError, match="input of .* dtype bits8; convert it to one of float32"):
            measure_sensitivity(calibrate, {"weight": weights["w"]} | weights)


def test_a_refinement_of_arrays_in_every_memory(weights):
    def refined(w):
        return coinr.refine({"w": w}, lambda sd: sd["w"].square().mean() + 1, steps=2, loss_increase=0.5).state_dict[
            "w"
        ]

    assert_alike(refined, weights)


@pytest.mark.parametrize("backend", ["native", "reference"])
def test_pursuits_in_every_memory(backend, weights):
    dictionary = coinr.Dictionary("gaussian", 8, 40, 0)
    for part in ("indices", "values", "path"):
        assert_alike(lambda w, p=part: getattr(coinr.omp(w, dictionary, 3, backend=backend), p), weights)


def test_signals_in_every_memory(generator):
    for image in (generator.integers(0, 255, (5, 7, 3), np.uint16), generator.random((5, 7))):
        assert_alike(lambda a: coinr.ImageSignal(a).batch(torch.arange(35))[1], image)
        assert_alike(lambda a, i=image: coinr.psnr(a, np.zeros_like(i)), image)
    for sound in (generator.integers(-999, 999, (40, 2), np.int16), generator.normal(size=40)):
        assert_alike(lambda a: coinr.AudioSignal(a, 8000).batch(torch.arange(40))[1], sound)
    assert_alike(lambda a: coinr.ShapeSignal(a).batch(torch.arange(60))[1], generator.normal(size=(3, 4, 5)))
    assert_alike(lambda a: coinr.ShapeSignal(a).volume, generator.integers(0, 2, (3, 4, 5), np.int32))
    views, poses = generator.random((3, 4, 4, 3)), np.stack([np.eye(4)] * 3)
    poses[:, :3, 3] = generator.random((3, 3))
    assert_alike(lambda a: check_views(a, poses)[0], views)
    assert_alike(lambda a: check_views(views, a)[1], poses)
    network = coinr.Nerf(depth=2, width=8, skip=None)
    assert_alike(lambda a: render_views(network, a, Lens(2, 2, 2.0, 0.1, 1.0, 2, 2))[0], poses.astype(np.float32))


def test_files_are_written_of_arrays_in_every_memory(tmp_path, generator):
    def written(image):
        coinr.write_image(tmp_path / "a.png", image)
        return coinr.read_image(tmp_path / "a.png")

    def recorded(sound):
        coinr.write_audio(tmp_path / "a.wav", sound, 8000)
        return coinr.read_audio(tmp_path / "a.wav")[0]

    assert_alike(written, generator.integers(0, 65535, (5, 7), np.uint16))
    assert_alike(recorded, generator.normal(size=(40, 2)).clip(-1, 1))


def test_what_is_no_array_of_numbers_is_refused_with_what_it_is():
    for value, message in [
        (torch.ones(4, 4, dtype=torch.bfloat16), "bfloat16"),
        (torch.eye(4).to_sparse(), "to_dense"),
        (np.ma.masked_array(np.ones((4, 4))), "filled"),
        ([[1, 2], [3]], "must be an array, got list"),
    ]:
        with pytest.raises(coinr.InputError, match=message):
            coinr.ImageSignal(value)


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_pictures_a_rounding_error_beyond_the_range_are_taken(dtype):
    top = max(1 + 2e-7, float(np.nextafter(dtype(1), dtype(2))))
    image = np.array([[0 - 2e-7, top], [0.5, 0.25]], dtype)
    held = coinr.ImageSignal(image).image
    assert (held.min(), held.max()) == (0, 1)
    assert coinr.psnr(image, image.clip(0, 1)) == np.inf
    assert check_views(np.dstack([image] * 3)[None], np.eye(4)[None])[0].max() == 255


@pytest.mark.parametrize("top", [1.00001, 1.004, 255.0])
def test_values_beyond_the_range_are_shown_in_full(top):
    image = np.array([[0.0, top], [0.5, 0.25]])
    for make in (coinr.ImageSignal, lambda a: check_views(np.dstack([a] * 3)[None], np.eye(4)[None])):
        with pytest.raises(coinr.InputError, match=f"got 0 to {top!r}".removesuffix(".0")):
            make(image)
    with pytest.raises(coinr.InputError, match=f"got 0 to {top!r}".removesuffix(".0")):
        coinr.ShapeSignal(image[None])


@pytest.mark.parametrize("size", [1e-300, 1e300])
def test_distances_and_sounds_that_float32_cannot_hold_are_refused_without_a_warning(size):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(coinr.InputError, match=r"got -1e[-+]300 to 1e"):
            coinr.ShapeSignal(np.array([[[-1.0, 0.5, 1.0]]]) * size)
        with pytest.raises(coinr.InputError, match="float32|silent"):
            coinr.AudioSignal(np.ones(4) * size, 8000)


def test_a_metric_of_unplain_tensors_runs_as_it_is():
    """Looking on at layers changes nothing where a metric multiplies by tensors of odd kinds."""
    w = torch.linspace(-1, 1, 64).reshape(8, 8)

    def evaluate(sd):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            sparse = sd["w"].to_sparse()
            parts = torch.nested.nested_tensor([torch.ones(2, 8), torch.ones(3, 8)])
        nn.functional.linear(parts, sd["w"])
        return -float((torch.mm(sparse, torch.eye(8)) - w).square().sum())

    assert coinr.search({"w": w}, evaluate, min_score=-0.1).score >= -0.1
