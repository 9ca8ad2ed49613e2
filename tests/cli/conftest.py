"""An old config tree, as researchers have it on disk."""

from __future__ import annotations

from pathlib import Path

import pytest

# A tree as researchers have it: groups, interpolations, import paths, and keys that are none of ours.
OLD_TREE = {
    "config.yaml": """
defaults:
  - data: default_features
  - model: mlp_visual
  - _self_
paths:
  data_root: data/features/image
  manifest_dir: data/manifests
  job_base_dir: outputs/${hydra:job.name}
  output_dir: ${hydra:run.dir}
  checkpoint_dir: ${paths.output_dir}/checkpoints
  latest_run_pointer: ${paths.job_base_dir}/latest_run.txt
training:
  task_type: classification
  batch_size: 16
  num_workers: 2
  learning_rate: 1e-3
  max_epochs: 2
  early_stopping_patience: 3
  loss:
    _target_: torch.nn.BCEWithLogitsLoss
  target_labels: ${data.columns.labels}
  resume:
    enabled: false
    state_path: null
  gradient_clip: 1.0
evaluation:
  checkpoint_name: final_model.pt
  negative_class_name: No pathology
utils:
  seed: 7
  device: auto
logging:
  logger_name: null
  wandb_mode: offline
hydra:
  run:
    dir: outputs/${hydra:job.name}/${now:%Y-%m-%d_%H-%M-%S}
  job:
    chdir: false
""",
    "data/default_features.yaml": """
train_manifest: train.csv
val_manifest: valid.csv
test_manifests: [test.csv]
columns:
  visual_feature: visual_feature_path
  text_feature: text_feature_path
  labels: [Lung nodule, Emphysema]
  grouping_col: volumename
preload_features: true
""",
    "data/other.yaml": """
defaults: [default_features]
train_manifest: other.csv
columns:
  labels: [Lung opacity]
""",
    "model/mlp_visual.yaml": """
_target_: src.classification.models.mlp.MLP
model_name: mlp_visual
params:
  in_features: null
  hidden_dims: [8]
  dropout: 0.35
  out_features: 2
""",
}


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """Write the old tree and return its folder."""
    for name, text in OLD_TREE.items():
        path = tmp_path / "configs" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text.lstrip())
    return tmp_path / "configs"
