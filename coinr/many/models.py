"""State dicts in files, each stored as a coinr file."""

from __future__ import annotations

import os
from collections.abc import Generator, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from coinr.errors import InputError
from coinr.inputs.arguments import checked
from coinr.many.manifest import hash_of
from coinr.many.run import Result, RunOptions, run

#: The name under which a coinr file's metadata holds that of the .safetensors file it was made from.
SAFETENSORS = "safetensors"


@dataclass
class PackModel:
    """Store the state dict in a file.

    Parameters
    ----------
    key, strip_prefix
        As for :func:`coinr.files.read_state_dict_file`.
    metadata : bool
        Keep the metadata of .safetensors files.
    base, base_key
        The file, and its entry, of a network that both sides have. It is read once in each process.
    codec : mapping
        Arguments of :func:`coinr.encode_state_dict`.
    """

    key: str | None = None
    strip_prefix: str | None = None
    metadata: bool = True
    base: Path | None = None
    base_key: str | None = None
    codec: Mapping[str, Any] = field(default_factory=dict)

    suffix = ".coinr"

    def settings(self) -> dict[str, Any]:
        """Return all that decides a file; the base by its hash."""
        base = None if self.base is None else hash_of(self.base)
        names = ("key", "strip_prefix", "metadata", "base_key")
        codec = {name: value for name, value in self.codec.items() if name != "threads"}
        return {"task": "pack", **{name: getattr(self, name) for name in names}, "base": base, "codec": codec}

    def prepare(self) -> None:
        """Import the codec, and read the base."""
        import coinr.codec.api  # noqa: F401

        self._loaded = self._read_base()

    def __call__(self, source: Path, output: Path) -> dict[str, Any]:
        """Encode one state dict; the score is the predicted output error in dB, if there is one."""
        from coinr.codec.reading import inspect

        base = self._loaded if hasattr(self, "_loaded") else self._read_base()
        names = {"key": self.key, "strip_prefix": self.strip_prefix}
        blob, error = encode_model(source, **names, metadata=self.metadata, base=base, **self.codec)
        output.write_bytes(blob)
        return {"score": None, "output_error": error, **inspect(blob).totals}

    def _read_base(self) -> Mapping[str, Any] | None:
        from coinr.files.state_dicts import read_state_dict_file

        return None if self.base is None else read_state_dict_file(self.base, self.base_key)

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in self.__dict__.items() if name != "_loaded"}


def encode_model(
    model: Path, *, key: str | None, strip_prefix: str | None, metadata: bool, **arguments: Any
) -> tuple[bytes, dict[str, Any] | None]:
    """Return the coinr file of a model file, and the output error that is predicted."""
    from coinr.codec.api import encode_state_dict
    from coinr.codec.reading import inspect
    from coinr.files.state_dicts import read_state_dict_file

    sd = read_state_dict_file(model, key, strip_prefix)
    blob = encode_state_dict(sd, meta=foreign_metadata(model) if metadata else None, **arguments)
    return blob, inspect(blob, original=sd, base=arguments["base"]).output_error


def foreign_metadata(model: Path) -> dict[str, Any] | None:
    """Return the metadata that a coinr file keeps of a model file: that of .safetensors, unless it says nothing."""
    from coinr.codec.format.metadata import check_meta
    from coinr.files.state_dicts import PLAIN_METADATA
    from coinr.files.weight_formats import read_safetensors_metadata

    metadata = read_safetensors_metadata(model)
    if metadata in ({}, PLAIN_METADATA):
        return None
    try:
        return check_meta({SAFETENSORS: metadata})
    except InputError as error:
        raise InputError(f"{model}: its metadata cannot be stored; give --no-metadata ({error})") from error


@checked
def pack(
    items: Iterable[str | os.PathLike[str]],
    out: str | os.PathLike[str],
    *,
    key: str | None = None,
    strip_prefix: str | None = None,
    base: str | os.PathLike[str] | None = None,
    jobs: int | None = None,
    time_limit: float | None = None,
    retries: int = 0,
    shard: tuple[int, int] | None = None,
    resume: bool = True,
    **codec: Any,
) -> Generator[Result, None, None]:
    """Encode the state dicts in many files, each as a file in a folder; otherwise as :func:`coinr.many.encode`.

    Parameters
    ----------
    items : iterable of path
        Model files, as for :func:`coinr.files.read_state_dict_file`.
    out : path
        The folder; it is made if there is none.
    key, strip_prefix
        As for :func:`coinr.files.read_state_dict_file`.
    base : path, optional
        The model file of a network that both sides have.
    jobs, time_limit, retries, shard, resume
        As for :class:`~coinr.many.run.RunOptions`.
    **codec
        As for :func:`coinr.encode_state_dict`.

    Yields
    ------
    Result
        Of each item, in the order in which they are finished.

    Raises
    ------
    InputError, BackendError
        As :func:`coinr.many.encode`.
    """
    from coinr.codec.options import EncodeOptions
    from coinr.codec.profiles.tasks import check_options

    check_options(EncodeOptions.from_arguments(codec))
    task = PackModel(key, strip_prefix, base=None if base is None else Path(os.path.abspath(base)), codec=codec)
    return run(task, [Path(item) for item in items], Path(out), RunOptions(jobs, time_limit, retries, shard, resume))
