"""The form is the session: every field under its config key."""

from ctbench_ui.form.fields import (
    choice,
    choices,
    chosen,
    config,
    data_chosen,
    dataset_name,
    field,
    fill,
    fill_next,
    keep,
    open_dataset,
    outputs_root,
    restore,
    save_dataset,
    take,
)
