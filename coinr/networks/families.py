"""Families of networks without torch: their settings, what follows from their tensors, and which tensors they have."""

from __future__ import annotations

import itertools
import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from coinr.errors import InputError
from coinr.inputs.arguments import describe_value

#: Shapes of the tensors of a state dict, by name.
Shapes = Mapping[str, tuple[int, ...]]

#: The name of the dtype and the shape of each tensor of a state dict, by name.
Layouts = Mapping[str, tuple[str, tuple[int, ...]]]

#: More are refused before anything is made: sizes that no machine holds, or that take minutes to list.
MOST_WEIGHTS = 1 << 30
MOST_LAYERS = 1 << 10


def check_count(name: str, value: object, least: int, most: int = 1 << 24) -> int:
    """Return ``value``; InputError unless it is an integer in ``least`` .. ``most``."""
    if isinstance(value, bool) or not isinstance(value, int) or value < least:
        raise InputError(f"{name} must be an integer >= {least}, got {describe_value(value)}")
    if value > most:
        raise InputError(f"{name} must be at most {most}, got {describe_value(value)}")
    return value


def check_weights(count: int) -> None:
    """Raise an InputError if a network of so many weights is larger than any that can be made."""
    if count > MOST_WEIGHTS:
        raise InputError(f"a network has at most {MOST_WEIGHTS} weights, these sizes give {describe_value(count)}")


def check_positive(name: str, value: object) -> float:
    """Return ``value`` as a float; InputError unless it lies between 1e-30 and 1e30."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not 1e-30 < value < 1e30:
        raise InputError(f"{name} must be a positive number below 1e30, and above 1e-30, got {value!r}")
    return float(value)


class Described(ABC):
    """What belongs to a family: a network, or a description of one without its weights.

    Attributes
    ----------
    family : Family
        Its family.
    """

    family: Family

    @property
    @abstractmethod
    def config(self) -> dict[str, Any]:
        """Return JSON values: sizes and settings."""


class Family(ABC):
    """A family of networks.

    Attributes
    ----------
    kind : str
        Its name in metadata and on the command line.
    title : str
        The name of its class.
    settings : dict of str to number or None
        The arguments that do not follow from the tensors, with their defaults, in the order in which they are stored;
        None stands for the first of them.
    """

    kind: str
    title: str
    settings: Mapping[str, float | None]

    @abstractmethod
    def sizes(self, shapes: Shapes, settings: Mapping[str, Any]) -> dict[str, Any]:
        """Return the arguments that follow from shapes and settings.

        Raises
        ------
        KeyError, IndexError, ValueError
            If the tensors are not those of such a network.
        """

    @abstractmethod
    def checked(self, config: Mapping[str, Any]) -> dict[str, Any]:
        """Return sizes and settings as a network has them; raise InputError if one is out of range."""

    @abstractmethod
    def tensors(self, config: Mapping[str, Any]) -> Iterator[tuple[str, str, tuple[int, ...]]]:
        """Yield name, dtype and shape of each tensor of a network of a :meth:`checked` configuration."""

    def stored_settings(self, config: Mapping[str, Any], number_of: Callable[[str], float]) -> dict[str, Any]:
        """Return settings that tensors of one number hold; ``number_of`` gives one by its name."""
        return {}

    def config_of(self, layouts: Layouts, settings: tuple[Any, ...]) -> dict[str, Any]:
        """Return the configuration of the network that has such tensors and settings.

        Parameters
        ----------
        layouts
            Of all tensors.
        settings
            In the order of :attr:`settings`; defaults for those left out.

        Raises
        ------
        InputError
            If the tensors are not those of such a network, or a number is out of range.
        """
        if len(settings) > len(self.settings):
            raise InputError(f"a {self.title} has {len(self.settings)} settings, got {len(settings)}")
        given = {**self.settings, **dict(zip(self.settings, settings, strict=False))}
        shapes = {name: shape for name, (_, shape) in layouts.items()}
        if sum(map(math.prod, shapes.values())) > 2 * MOST_WEIGHTS:
            raise InputError(f"the tensors are not those of a {self.title} that can be made: they are too large")
        try:
            sizes = self.sizes(shapes, given)
        except (KeyError, IndexError, ValueError):
            raise InputError(f"the tensors are not those of a {self.title}") from None
        config = self.checked({**sizes, **given})
        expected = {name: (dtype, shape) for name, dtype, shape in self.tensors(config)}
        if shapes != {name: shape for name, (_, shape) in expected.items()}:
            raise InputError(f"the tensors are not those of a {self.title} of {sizes}")
        for name, (dtype, _) in expected.items():
            if layouts[name][0] != dtype:
                raise InputError(
                    f"the tensors are not those of a {self.title}: {name} is {layouts[name][0]}, not {dtype}"
                )
        return config


_ENCODING: Mapping[str, float | None] = {"frequencies": 0, "base": 2.0, "lowest": 1.0}


@dataclass(frozen=True)
class MlpFamily(Family):
    """Networks of h + 2 affine maps with one activation between them; see :class:`coinr.networks.Mlp`.

    Attributes
    ----------
    positive
        Those settings that are positive numbers.
    layer_names
        Names of what holds the weights of a layer that has an activation, and of the last; ``{}`` is its number.
    numbers
        Names of the single numbers in the state dict of a layer that has an activation.
    inner
        Dtype of the weights of all layers but the first.
    """

    kind: str
    title: str
    settings: Mapping[str, float | None]
    positive: tuple[str, ...] = ()
    layer_names: tuple[str, str] = ("layers.{}", "layers.{}")
    numbers: tuple[str, ...] = ()
    inner: str = "float32"

    def sizes(self, shapes: Shapes, settings: Mapping[str, Any]) -> dict[str, Any]:
        """Implement :meth:`Family.sizes`."""
        hidden_layers = (len(shapes) - 2) // (2 + len(self.numbers)) - 1
        if hidden_layers < 0:
            raise ValueError("too few tensors")
        first, last = (
            shapes[name.format(k) + ".weight"] for name, k in zip(self.layer_names, (0, hidden_layers + 1), strict=True)
        )
        width, encoded = first
        in_features, rest = divmod(encoded, 1 + 2 * check_count("frequencies", settings["frequencies"], 0))
        if rest:
            raise ValueError(f"{encoded} inputs are not those of an encoding")
        return {
            "in_features": in_features,
            "out_features": last[0],
            "width": width,
            "hidden_layers": hidden_layers,
        }

    def checked(self, config: Mapping[str, Any]) -> dict[str, Any]:
        """Implement :meth:`Family.checked`."""
        made = check_sizes(config)
        for name in self.positive:
            value = made[self.positive[0]] if config[name] is None else config[name]
            made[name] = check_positive(name, value)
        return made

    def tensors(self, config: Mapping[str, Any]) -> Iterator[tuple[str, str, tuple[int, ...]]]:
        """Implement :meth:`Family.tensors`."""
        last = config["hidden_layers"] + 1
        for k, (fan_in, fan_out) in enumerate(fans(config)):
            name = self.layer_name(k, last)
            dtype = "float32" if k == 0 else self.inner
            for number in self.numbers if k < last else ():
                yield f"{name.removesuffix('.linear')}.{number}", "float32", (1,)
            yield f"{name}.weight", dtype, (fan_out, fan_in)
            yield f"{name}.bias", dtype, (fan_out,)

    def stored_settings(self, config: Mapping[str, Any], number_of: Callable[[str], float]) -> dict[str, Any]:
        """Implement :meth:`Family.stored_settings`: WIRE's, of its first two layers."""
        if not self.numbers:
            return {}
        numbers = self.numbers_of(config, number_of)
        omega, scale = numbers[min(1, config["hidden_layers"])]
        return {"omega": omega, "scale": scale, "first_omega": numbers[0][0]}

    def numbers_of(self, config: Mapping[str, Any], number_of: Callable[[str], float]) -> list[tuple[float, float]]:
        """Return omega and scale of each layer with an activation, where tensors of one number hold them."""
        layers = range(config["hidden_layers"] + 1 if self.numbers else 0)
        return [(number_of(f"net.{k}.omega_0"), number_of(f"net.{k}.scale_0")) for k in layers]

    def layer_name(self, k: int, last: int) -> str:
        """Return the name of what holds the weights of layer k of 0 .. last."""
        return self.layer_names[k == last].format(k)


#: The sizes that :func:`fans` needs.
SIZES = ("in_features", "out_features", "width", "hidden_layers", "frequencies")


def check_sizes(config: Mapping[str, Any]) -> dict[str, Any]:
    """Return the configuration of an MLP with floats for those; InputError if a size or the encoding is out of range.

    The settings of the activation are not looked at.
    """
    for name in ("in_features", "out_features", "width"):
        check_count(name, config[name], 1)
    check_count("hidden_layers", config["hidden_layers"], 0, MOST_LAYERS)
    frequencies = check_count("frequencies", config["frequencies"], 0)
    check_weights(sum(fan_in * fan_out for fan_in, fan_out in fans(config)))
    base, lowest = (check_positive(name, config[name]) for name in ("base", "lowest"))
    if frequencies * math.log(base) + math.log(lowest) > math.log(1e30):
        raise InputError(f"{frequencies} frequencies of base {base} exceed 1e30")
    return {**config, "base": base, "lowest": lowest}


def fans(config: Mapping[str, Any]) -> list[tuple[int, int]]:
    """Return the numbers of inputs and outputs of each layer of an MLP."""
    first = config["in_features"] * (1 + 2 * config["frequencies"])
    widths = [config["width"]] * (config["hidden_layers"] + 1)
    return list(itertools.pairwise([first, *widths, config["out_features"]]))


@dataclass(frozen=True)
class NerfFamily(Family):
    """Radiance fields; see :class:`coinr.networks.Nerf`."""

    kind: str
    title: str
    settings: Mapping[str, float | None]

    def sizes(self, shapes: Shapes, settings: Mapping[str, Any]) -> dict[str, Any]:
        """Implement :meth:`Family.sizes`."""
        depth = sum(name.startswith("coarse.pts_linears.") and name.endswith(".weight") for name in shapes)
        width, points = shapes["coarse.pts_linears.0.weight"]
        _, seen = shapes["coarse.views_linears.0.weight"]
        inner = [shapes[f"coarse.pts_linears.{i}.weight"][1] for i in range(1, depth)]
        skips = [i for i, fan_in in enumerate(inner) if fan_in == width + points]
        (point_frequencies, rest), (view_frequencies, other) = divmod(points - 3, 6), divmod(seen - width - 3, 6)
        if len(skips) > 1 or rest or other:
            raise ValueError("sizes that nerf-pytorch does not have")
        return {
            "depth": depth,
            "width": width,
            "skip": skips[0] if skips else None,
            "point_frequencies": point_frequencies,
            "view_frequencies": view_frequencies,
            "fine": any(name.startswith("fine.") for name in shapes),
        }

    def checked(self, config: Mapping[str, Any]) -> dict[str, Any]:
        """Implement :meth:`Family.checked`."""
        depth, width = check_count("depth", config["depth"], 1, MOST_LAYERS), check_count("width", config["width"], 2)
        skip = config["skip"]
        skip = None if skip is None or check_count("skip", skip, 0) > depth - 2 else skip
        for name in ("point_frequencies", "view_frequencies"):
            check_count(name, config[name], 0)
        points, views = _encoded(config)
        check_weights((1 + config["fine"]) * (depth * width * (width + points) + width * (width + views)))
        return {**config, "skip": skip}

    def tensors(self, config: Mapping[str, Any]) -> Iterator[tuple[str, str, tuple[int, ...]]]:
        """Implement :meth:`Family.tensors`."""
        for field in ("coarse", "fine")[: 1 + config["fine"]]:
            for name, fan_in, fan_out in field_layers(config):
                yield f"{field}.{name}.weight", "float32", (fan_out, fan_in)
                yield f"{field}.{name}.bias", "float32", (fan_out,)


def field_layers(config: Mapping[str, Any]) -> Iterator[tuple[str, int, int]]:
    """Yield name, inputs and outputs of each layer of a radiance field."""
    width, (points, views) = config["width"], _encoded(config)
    for i in range(config["depth"]):
        yield f"pts_linears.{i}", points if i == 0 else width + (points if i - 1 == config["skip"] else 0), width
    yield "views_linears.0", views + width, width // 2
    yield "feature_linear", width, width
    yield "alpha_linear", width, 1
    yield "rgb_linear", width // 2, 3


def _encoded(config: Mapping[str, Any]) -> tuple[int, int]:
    """Return the numbers of encoded coordinates of points and of directions."""
    return 3 * (1 + 2 * config["point_frequencies"]), 3 * (1 + 2 * config["view_frequencies"])


_IN_NET = ("net.{}.linear", "net.{}")
_OMEGAS = ("omega", "first_omega")

SIREN = MlpFamily("siren", "Siren", {"omega": 30.0, "first_omega": None, **_ENCODING}, _OMEGAS)
FINER = MlpFamily("finer", "Finer", SIREN.settings, _OMEGAS)
GAUSS = MlpFamily("gauss", "Gauss", {"scale": 10.0, **_ENCODING}, ("scale",), _IN_NET)
WIRE = MlpFamily("wire", "Wire", _ENCODING, (), _IN_NET, ("omega_0", "scale_0"), "complex64")
RELU = MlpFamily("relu", "Relu", {**_ENCODING, "frequencies": 10})
NERF = NerfFamily("nerf", "Nerf", {})

#: Every family by its kind.
FAMILIES: Mapping[str, Family] = {family.kind: family for family in (SIREN, FINER, GAUSS, WIRE, RELU, NERF)}
