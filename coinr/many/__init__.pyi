"""The public names of this package and their modules."""

from . import ray as ray
from .models import pack as pack
from .run import Result as Result
from .signals import encode as encode
