"""What can be chosen, by name: metrics, heads and losses with their titles. Needs neither torch nor pandas."""

from ctbench_core.declared.heads import HEAD_ALIASES, HEADS, STEPWISE, UNLEARNED, Head, head_name
from ctbench_core.declared.losses import LOSS_ALIASES, LOSSES, loss_name
from ctbench_core.declared.metrics import METRICS, Metric, metric_title
