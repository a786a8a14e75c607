"""One run: built, trained, recorded, and saved so that it can go on."""

from suexp.upstream import spare_torchmetrics

spare_torchmetrics()  # before anything here imports Lightning
