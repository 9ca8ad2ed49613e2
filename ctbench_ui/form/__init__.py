"""The form of all pages: every field is in the session, under its config key."""

from ctbench_ui.form.fields import (
    apply_head_defaults,
    choice_field,
    choices_field,
    config,
    dataset_name,
    field,
    fill,
    fill_on_rerun,
    is_changed,
    is_data_changed,
    open_dataset,
    outputs_root,
    parse_list,
    restore,
    save,
    save_dataset,
    set_fields,
    settings_source,
    title_of,
)
