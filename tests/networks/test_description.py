"""Networks without torch: their families, and their values at coordinates."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from coinr.errors import FormatError, InputError
from coinr.inputs.tensors import tensor_to_array
from coinr.networks import NETWORKS, Finer, Gauss, Nerf, Relu, Siren, Wire, network_meta
from coinr.networks.description import ArrayNetwork, Description
from coinr.networks.families import FAMILIES

SIZES = (2, 3, 6, 2)

NETWORK_OF = {
    "siren": lambda: Siren(*SIZES),
    "one layer": lambda: Siren(3, 1, 5, 0, first_omega=10),
    "encoded siren": lambda: Siren(*SIZES, first_omega=3, frequencies=4, base=1.4, lowest=math.pi),
    "finer": lambda: Finer(*SIZES),
    "gauss": lambda: Gauss(3, 1, 6, 2, scale=2.5),
    "encoded gauss": lambda: Gauss(*SIZES, frequencies=2),
    "wire": lambda: Wire(*SIZES, omega=3, scale=2, first_omega=4),
    "one wavelet": lambda: Wire(1, 1, 5, 0, scale=2),
    "relu": lambda: Relu(*SIZES, frequencies=4, base=1.5),
    "nerf": lambda: Nerf(4, 6, skip=1, point_frequencies=3, view_frequencies=1),
    "shared nerf": lambda: Nerf(1, 6, skip=None, point_frequencies=1, view_frequencies=0, fine=False),
}


def arrays_of(network):
    found = {name: tensor_to_array(tensor) for name, tensor in network.state_dict().items()}
    return {name: (dtype.name, array) for name, (array, dtype) in found.items()}


def test_every_network_has_its_family():
    assert {kind: cls.family for kind, cls in NETWORKS.items()} == FAMILIES
    assert all(family.title == NETWORKS[kind].__name__ for kind, family in FAMILIES.items())


@pytest.mark.parametrize("name", NETWORK_OF)
def test_a_description_has_the_tensors_and_the_configuration_of_the_network(name):
    network = NETWORK_OF[name]()
    arrays = arrays_of(network)
    layouts = {key: (dtype, array.shape) for key, (dtype, array) in arrays.items()}
    expected = {key: (dtype, shape) for key, dtype, shape in network.family.tensors(network.config)}
    assert layouts == expected
    found = Description(network_meta(network), layouts, lambda key: float(arrays[key][1][0]))
    assert (found.kind, found.config) == (network.kind, network.config)


@pytest.mark.parametrize("name", [name for name in NETWORK_OF if "nerf" not in name])
def test_values_are_those_of_torch(name):
    network = NETWORK_OF[name]()
    x = torch.rand(200, network.in_features, generator=torch.Generator().manual_seed(9)) * 2 - 1
    with torch.no_grad():
        expected = network.plain_forward(x)
    found = ArrayNetwork(network_meta(network), arrays_of(network))(x.numpy())
    assert (found.dtype, found.shape, found.flags.c_contiguous) == (np.float32, tuple(expected.shape), True)
    assert np.abs(found - expected.numpy()).max() < 1e-5 * (1 + expected.abs().max())


def test_what_is_no_network_is_refused():
    network = Siren(*SIZES)
    arrays = arrays_of(network)
    with pytest.raises(InputError, match="names no network"):
        ArrayNetwork({"image": [1, 2]}, arrays)
    with pytest.raises(FormatError, match="several"):
        ArrayNetwork({"siren": 30, "gauss": 10}, arrays)
    with pytest.raises(FormatError, match="not those of a Gauss"):
        ArrayNetwork({"gauss": 10}, arrays)
    with pytest.raises(FormatError, match="omega must be a positive number"):
        ArrayNetwork({"siren": -1}, arrays)
    with pytest.raises(FormatError, match="layers.1.weight is float64, not float32"):
        ArrayNetwork({"siren": 30}, arrays | {"layers.1.weight": ("float64", np.zeros((6, 6)))})
    with pytest.raises(FormatError, match=r"not those of a Siren of \{"):
        ArrayNetwork({"siren": 30}, arrays | {"layers.1.weight": ("float32", np.zeros((6, 5), np.float32))})
