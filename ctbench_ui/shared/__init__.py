"""What several pages share. The names below are imported from here; charts, exports and caches by file."""

from ctbench_core.palette import COLOURS, DASHES, FINDINGS, GREY, finding_style
from ctbench_ui.shared.controls import draw_tabs, edit_rows, path_field, select_rows, text_field
from ctbench_ui.shared.feedback import (
    fragment,
    leak_badge,
    progress_bar,
    show_empty,
    show_error,
    show_errors,
    show_hint,
    show_warning,
    show_warnings,
)
from ctbench_ui.shared.style import (
    SEQUENCE,
    ago,
    duration,
    is_dark,
    metric_column,
    metric_texts,
    sequence,
    state_badge,
    state_style,
    test_marks,
)
from ctbench_ui.shared.text import as_text, name_fields
