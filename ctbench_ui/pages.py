"""The pages of the app, one declaration each: address, navigation, drawing function, outline, and what an address may say.

Navigation, loading outline, read-only links, tabs and the check of addresses follow from it. To add a page, declare it
here (or call ``PAGES.add``) and write the function that it names.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Any

import streamlit as st

from ctbench_core.declared import Registry, load
from ctbench_core.installation import source_tree

_LINE, _FIELD, _TABS, _NUMBER, _CARD, _TALL = 24, 40, 28, 62, 84, 380  # heights in an outline, in pixels

_NO_RUN = "This run is not in the store"

# A row of an outline: the relative widths of its parts, and their height in pixels.
Row = tuple[tuple[int, ...], int]


@dataclass(frozen=True)
class Page:
    """One page.

    Attributes:
        name: its address; the first page is also the address without a name.
        group: the heading of its link in the navigation.
        draw: the function that draws it, as ``module:name``.
        outline: what is shown under its title until its first part is drawn.
        ids: query parameters that name something stored, and what is said where it is not there.
        tabs: the titles of its tabs by the key of the tabs, which is also their query parameter.
        filters: keys of what else the address holds: values of widgets, and which box is open.
        renamed: by key of a filter, what its values were called before, and what they are called now.
        readonly: whether a read-only link may open it.
    """

    name: str
    title: str
    group: str
    icon: str
    draw: str
    outline: tuple[Row, ...] = (((1,), _TALL),)
    ids: Mapping[str, str] = field(default_factory=dict)
    tabs: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    filters: tuple[str, ...] = ()
    renamed: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    readonly: bool = False

    @property
    def parameters(self) -> frozenset[str]:
        """The query parameters that its address may have."""
        return frozenset((*self.ids, *self.tabs, *self.filters))


PAGES = Registry(
    "page",
    (
        Page(
            name="home",
            title="Home",
            group="Start",
            icon=":material/home:",
            draw="ctbench_ui.home.page:draw",
            outline=(((1, 1, 1), _CARD), ((3, 1), _TALL)),
            ids={"set": "No run of this store has this validation set"},
            filters=("home.best",),
        ),
        Page(
            name="data",
            title="Data",
            group="Start",
            icon=":material/database:",
            draw="ctbench_ui.data.page:draw",
            outline=(((3, 2), _TALL),),
            tabs={
                "data.tab": ("Data set", "Prepare manifests", "Budget files", "Compare labels"),
                "data.figures": ("Prevalence", "Co-occurrence", "Norms"),
            },
        ),
        Page(
            name="train",
            title="Train",
            group="Run",
            icon=":material/model_training:",
            draw="ctbench_ui.train.page:draw",
            outline=(((1, 1, 1), _TALL),),
            ids={"train_run": _NO_RUN},
        ),
        Page(
            name="runs",
            title="Runs",
            group="Run",
            icon=":material/list_alt:",
            draw="ctbench_ui.runs.page:draw",
            outline=(((1,), _CARD), ((1,), _TALL)),
            ids={"run": _NO_RUN, "recipe": _NO_RUN},
            tabs={
                "card-tabs": ("Settings", "Curves", "Provenance and files"),
                "by-budget-tabs": ("Budgets", "Curve", "Two sources"),
            },
            filters=(
                *("runs.filter", "runs.view", "runs.group", "runs.order", "runs.columns", "runs.page", "runs.all"),
                *("runs.curves", "runs.curves-metric", "runs.smoothing"),
                *("runs.state", "runs.encoder", "runs.head", "runs.tag"),  # of addresses from before the query
            ),
            renamed={
                "runs.columns": {"N": "Volumes"},
                "runs.order": {f"N {arrow}": f"Volumes {arrow}" for arrow in "↑↓"},
            },
            readonly=True,
        ),
        Page(
            name="studies",
            title="Studies",
            group="Run",
            icon=":material/grid_on:",
            draw="ctbench_ui.studies.page:draw",
            outline=(((2, 3), _FIELD), ((1,), _TABS), ((1, 1), _TALL)),
            ids={"study": "This study is not in the store"},
            tabs={
                "study-tabs": ("Curves", "Overview", "Findings", "Differences", "Bottlenecks", "Runs", "Export"),
            },
            filters=(
                "curves-metric",
                "curves-finding",
                "heat-metric",
                "heat-marks",
                "differences-axis",
                "differences-metric",
                "bottlenecks-metric",
            ),
            readonly=True,
        ),
        Page(
            name="evaluate",
            title="Evaluate",
            group="Results",
            icon=":material/query_stats:",
            draw="ctbench_ui.evaluate.page:draw",
            outline=(((1,), _LINE), ((1, 1, 1, 1), _NUMBER), ((1,), _TABS), ((1,), _TALL)),
            ids={"run": _NO_RUN, "test": "This run has no results on this test set"},
            tabs={"tab": ("Findings", "Curves", "Threshold", "Calibration", "Subgroups", "Paper", "Volumes")},
            filters=(
                "finding",
                "threshold",
                "findings.at",
                "dots-metric",
                "curves.kind",
                "calibration.finding",
                "calibration.method",
                "subgroups.column",
                "subgroups.metric",
                "subgroups.finding",
                "volumes.finding",
                "volumes.kind",
                "volumes.text",
            ),
            renamed={"findings.at": {"the threshold chosen on validation": "chosen on validation"}},
            readonly=True,
        ),
        Page(
            name="compare",
            title="Compare",
            group="Results",
            icon=":material/compare:",
            draw="ctbench_ui.compare.page:draw",
            outline=(((1, 1), _FIELD), ((1,), _CARD), ((1,), _TABS), ((1,), _TALL)),
            ids={"runs": _NO_RUN, "on": "These runs have no results on this test set"},
            tabs={
                "compare-tabs": (
                    "Differences",
                    "Curves",
                    "Disagreements",
                    "Settings",
                    "Label noise",
                    "Published",
                    "Paper",
                )
            },
            filters=(
                "compare.by-recipe",
                "compare-margin",
                "compare-metric",
                "compare-curve-finding",
                "compare-scatter-finding",
                "compare-scatter-other",
                "compare-labels-run",
            ),
            readonly=True,
        ),
        Page(
            name="alignment",
            title="Alignment",
            group="Results",
            icon=":material/compare_arrows:",
            draw="ctbench_ui.alignment.page:draw",
            outline=(((1, 1, 1, 1), _FIELD), ((1,), _FIELD), ((1,), _TABS), ((1, 1), _TALL)),
            ids=dict.fromkeys(("result", "other"), "This result is not in the store"),
            tabs={"alignment.tab": ("Metrics", "Ranks and findings", "Browse", "Map", "Compare")},
            filters=(
                "alignment.view",
                "ranks.truth",
                "findings.k",
                "browse.way",
                "browse.kind",
                "browse.part",
                "browse.words",
                "map.kinds",
                "map.colour",
                "map.lines",
                "map.density",
                "two.truth",
            ),
            renamed={
                "alignment.view": {
                    "normal queries": "normal",
                    "abnormal queries": "abnormal",
                    "normal queries, own exam left out": "normal, own exam left out",
                    "abnormal queries, own exam left out": "abnormal, own exam left out",
                },
            },
            readonly=True,
        ),
        Page(
            name="system",
            title="System",
            group="System",
            icon=":material/memory:",
            draw="ctbench_ui.system.page:draw",
            outline=(((1, 1, 1, 1), _CARD), ((1, 1), _TALL)),
            filters=("system.open",),
        ),
    ),
)


def page(name: str, visible: bool = True) -> Any:
    """Return Streamlit's object of a page, for links and switches.

    In a clone the pages that ship have scripts in ``pages/``, where tools look for them; others need none.
    """
    shown, is_first, root = PAGES[name], name == next(iter(PAGES)), source_tree()
    script = root / "pages" / f"{name}.py" if root else None

    def draw() -> None:
        draw_page(name)

    return st.Page(
        script if script and script.is_file() else draw,
        title=shown.title,
        icon=shown.icon,
        url_path=None if is_first else name,
        default=is_first,
        visibility="visible" if visible else "hidden",
    )


def draw_page(name: str) -> None:
    """Draw a page; its room is imported only now."""
    load(PAGES[name].draw)()


def declaration(shown: Any) -> Page:
    """Return the declaration of a page that the navigation returned."""
    return PAGES[shown.url_path or next(iter(PAGES))]


def groups(only: Collection[str] | None = None) -> dict[str, list[Any]]:
    """Return the pages by navigation group, in order; those not in ``only`` are hidden, but can be opened."""
    pages: dict[str, list[Any]] = {}
    for name, shown in PAGES.items():
        pages.setdefault(shown.group, []).append(page(name, only is None or name in only))
    return pages


def tab_titles(key: str) -> tuple[str, ...]:
    """Return the titles of the tabs with a key, on whichever page they are."""
    return next(shown.tabs[key] for shown in PAGES.values() if key in shown.tabs)


def go(name: str, query: Mapping[str, str] | None = None) -> None:
    """Open another page, optionally with query parameters."""
    st.switch_page(page(name), query_params=dict(query or {}))
