"""The public names of this package and their modules."""

from . import ray as ray
from .models import pack as pack
from .run import Result as Result
from .set_base import make_base as make_base
from .set_reading import NetworkSet as NetworkSet
from .set_reading import open_set as open_set
from .set_schema import Member as Member
from .set_writing import write_set as write_set
from .signals import encode as encode
