"""Radiance fields: NeRF in the layout of nerf-pytorch."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from coinr.inputs.arguments import checked
from coinr.networks.encoding import encode
from coinr.networks.families import NERF
from coinr.networks.fused import FusedModule, fused, is_plain, run
from coinr.networks.network import Network, bare_linear, fill_usual
from coinr.networks.programs import Computation, computation_of_field
from coinr.networks.symmetries import Neurons


class RadianceField(FusedModule):
    """One network of a NeRF: color and density of points that are seen from a direction.

    Parameters and state dict as for :class:`Nerf`, names without ``coarse.`` or ``fine.``.
    """

    def __init__(
        self,
        depth: int,
        width: int,
        skip: int | None,
        point_frequencies: int,
        view_frequencies: int,
        generator: torch.Generator | None = None,
    ) -> None:
        super().__init__()
        points, views = 3 * (1 + 2 * point_frequencies), 3 * (1 + 2 * view_frequencies)
        self.width, self.skip = width, skip
        self.point_frequencies, self.view_frequencies = point_frequencies, view_frequencies
        fans = [points] + [width + (points if i == skip else 0) for i in range(depth - 1)]
        self.pts_linears = nn.ModuleList(bare_linear(fan, width) for fan in fans)
        self.views_linears = nn.ModuleList([bare_linear(views + width, width // 2)])
        self.feature_linear = bare_linear(width, width)
        self.alpha_linear = bare_linear(width, 1)
        self.rgb_linear = bare_linear(width // 2, 3)
        for module in self.modules():
            if isinstance(module, nn.Linear):
                fill_usual(module, generator)

    def neurons(self, prefix: str) -> list[Neurons]:
        """Return what :meth:`Network.neurons` does of a field whose tensors have a prefix before their names.

        The features have no activation, so their signs are free.
        """
        layers = [f"{prefix}pts_linears.{i}" for i in range(len(self.pts_linears))]
        encoded = 3 * (1 + 2 * self.point_frequencies)
        readers = [((after, encoded if i == self.skip else 0),) for i, after in enumerate(layers[1:])]
        features, views = f"{prefix}feature_linear", f"{prefix}views_linears.0"
        return [
            *(Neurons(layer, read) for layer, read in zip(layers, readers, strict=False)),
            Neurons(layers[-1], ((features, 0), (f"{prefix}alpha_linear", 0))),
            Neurons(features, ((views, 0),), parity=-1),
            Neurons(views, ((f"{prefix}rgb_linear", 0),)),
        ]

    def forward(self, points: Tensor, directions: Tensor) -> tuple[Tensor, Tensor]:
        """Return colors in [0, 1] and densities.

        Parameters
        ----------
        points : Tensor
            float32 [R, S, 3], S points on each of R rays.
        directions : Tensor
            float32 [R, 3], unit directions of the rays.

        Returns
        -------
        Tensor, Tensor
            float32 [R, S, 3], and float32 [R, S] >= 0, per unit of length.
        """
        found = fused(self)
        shaped = points.ndim == 3 and directions.shape == (points.shape[0], 3) and points.numel() > 0
        inputs = (points, directions)
        if found is None or not shaped or not all(is_plain(x) and not x.requires_grad for x in inputs):
            return self.plain_forward(points, directions)
        rays, samples = points.shape[:2]
        values = run(self, found, [points.reshape(-1, 3), directions], rays * samples).reshape(rays, samples, 4)
        return values[..., :3], values[..., 3]

    def computation(self) -> Computation:
        """Implement :meth:`FusedModule.computation`."""
        depth, frequencies = len(self.pts_linears), (self.point_frequencies, self.view_frequencies)
        return computation_of_field(depth, self.width, self.skip, *frequencies)

    def plain_values(self, inputs: Sequence[Tensor], count: int) -> Tensor:
        """Implement :meth:`FusedModule.plain_values`."""
        points, directions = inputs
        color, density = self.plain_forward(points.reshape(len(directions), -1, 3), directions)
        return torch.cat((color, density[..., None]), -1).reshape(count, 4)

    def plain_forward(self, points: Tensor, directions: Tensor) -> tuple[Tensor, Tensor]:
        """Return the values of :meth:`forward` by torch's operations, one by one."""
        encoded = encode(points, self.point_frequencies)
        h = encoded
        for i, layer in enumerate(self.pts_linears):
            h = functional.relu(layer(h))
            if i == self.skip:
                h = torch.cat((encoded, h), -1)
        density = functional.relu(self.alpha_linear(h))[..., 0]
        seen = encode(directions, self.view_frequencies)[:, None].expand(*points.shape[:2], -1)
        h = functional.relu(self.views_linears[0](torch.cat((self.feature_linear(h), seen), -1)))
        return torch.sigmoid(self.rgb_linear(h)), density


class Nerf(Network):
    """NeRF (Mildenhall et al. 2020): a coarse and a fine radiance field in the layout of nerf-pytorch.

    The state dict is float32: ``coarse.`` followed by the names of nerf-pytorch's ``network_fn_state_dict``, which are
    ``pts_linears.i``, ``views_linears.0``, ``feature_linear``, ``alpha_linear`` and ``rgb_linear``, each with
    ``.weight`` and ``.bias``; then ``fine.`` and those of ``network_fine_state_dict``. All start at U(±1/√fan_in).

    Parameters
    ----------
    depth, width : int
        Layers before density and their width; at least 1 and 2.
    skip : int, optional
        The layer after which the encoded points are an input again, 0 .. depth - 2; by default 4, the middle of eight,
        or none if there is no such layer.
    point_frequencies, view_frequencies : int
        Of the positional encodings.
    fine : bool
        Whether fine samples have a network of their own; otherwise the coarse one serves for both, in half the weights.
    generator : torch.Generator, optional
        As for :class:`~coinr.Siren`.

    Raises
    ------
    InputError
        If a size is out of range.
    """

    family, kind = NERF, "nerf"

    @checked
    def __init__(
        self,
        depth: int = 8,
        width: int = 256,
        skip: int | None = 4,
        point_frequencies: int = 10,
        view_frequencies: int = 4,
        fine: bool = True,
        *,
        generator: torch.Generator | None = None,
    ) -> None:
        super().__init__()
        given = {
            "depth": depth,
            "width": width,
            "skip": skip,
            "point_frequencies": point_frequencies,
            "view_frequencies": view_frequencies,
            "fine": fine,
        }
        self.depth, self.width, self.skip = depth, width, NERF.checked(given)["skip"]
        self.point_frequencies, self.view_frequencies = point_frequencies, view_frequencies
        sizes = (depth, width, self.skip, point_frequencies, view_frequencies)
        self.coarse = RadianceField(*sizes, generator)
        self.fine = RadianceField(*sizes, generator) if fine else None

    @property
    def config(self) -> dict[str, Any]:
        """Return JSON values that rebuild the network without its weights: ``Nerf(**network.config)``."""
        names = ("depth", "width", "skip", "point_frequencies", "view_frequencies")
        return {name: getattr(self, name) for name in names} | {"fine": self.fine is not None}

    def neurons(self) -> list[Neurons]:
        """Implement :meth:`Network.neurons`."""
        fine = [] if self.fine is None else self.fine.neurons("fine.")
        return self.coarse.neurons("coarse.") + fine

    def forward(self, points: Tensor, directions: Tensor) -> tuple[Tensor, Tensor]:
        """Return colors and densities of the fine network, see :meth:`RadianceField.forward`."""
        field = self.coarse if self.fine is None else self.fine
        out: tuple[Tensor, Tensor] = field(points, directions)
        return out
