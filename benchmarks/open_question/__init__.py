"""Would models with plentiful labelled data be better built by meta-learning? Learning curves from 50 to all rows."""

import torch  # noqa: F401 - before lightgbm: it brings the OpenMP library that lightgbm looks for on the system
