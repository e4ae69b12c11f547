"""YOLOv3 networks by name, each built for T lanes."""

from detector.models.darknet import Row, rows_of
from detector.models.network import Network, build_network

__all__ = ["Network", "Row", "build_network", "rows_of"]
