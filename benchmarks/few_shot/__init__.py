"""How good are scores for markets with 10 to 200 labelled accounts? Thetaprime beside what a good team does today."""

import torch  # noqa: F401 - before lightgbm: it brings the OpenMP library that lightgbm looks for on the system
