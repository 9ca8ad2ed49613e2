"""The style of every page, which the server puts into it: from a page's code it would come after the first look."""

from __future__ import annotations

# A notification is in the empty part of the navigation: where Streamlit has it, it covers the controls of a page's head.
# `:has` on what holds the page makes a browser look at the style of the whole page whenever an element is added: half of
# all its time for styles. It is for what holds little, such as the header.
# A box opens and closes at once. Streamlit lets it grow for half a second, in which a field that takes the focus scrolls it
# and its growth scrolls it back; each scroll closes the list of a select box, so that a choice typed at once was lost.
STYLE = """<style>
[data-testid=stHeader] {height: 2.5rem; min-height: 0; background: transparent}
[data-testid=stHeader], [data-testid=stHeader] div {pointer-events: none}
[data-testid=stHeader] :is(button, a) {pointer-events: auto}
[data-testid=stMainBlockContainer] {padding: .6rem clamp(1rem, 3vw, 3rem) 3rem}
[data-testid=stHeader]:has([data-testid=stExpandSidebarButton]) ~ [data-testid=stMain] [data-testid=stMainBlockContainer] {padding-top: 2.6rem}
.st-key-top {min-height: 1.7rem}
[data-testid=stLayoutWrapper]:has(> .st-key-scripts) {display: none}
.st-key-strip {padding-right: 7rem; row-gap: 0}
[data-testid=stHeader]:has([data-testid=stExpandSidebarButton]) ~ [data-testid=stMain] .st-key-strip {padding-right: 0}
@media (min-width: 641px) {
  [class*=st-key-machine-] > * {flex: 1 1 0 !important}
}
@media (max-width: 640px) {
  .st-key-strip > :has(.st-key-strip-job [data-testid=stPageLink]) {flex-basis: 100%}
  .st-key-strip [data-testid=stPageLink] :is(a, span, p) {white-space: normal; overflow: visible}
  [data-testid=stTabs] [role=tablist] {gap: .75rem}
  [data-testid=stButtonGroup] [role=radiogroup] {flex-wrap: wrap}
  [data-testid=stButtonGroup] [data-variant=segmented_control] {padding-inline: .5rem; min-width: 2.25rem}
  :is(.st-key-volumes-kind, .st-key-runs-view) [data-testid=stButtonGroup] [data-variant=segmented_control] {padding-inline: .375rem}
  [data-variant=segmented_control]:not([data-selected=true]) {border-left-color: color-mix(in srgb, currentColor 15%, transparent) !important}
  [data-variant=segmented_control][data-selected=true] {position: relative; z-index: 1}
  .st-key-compare-head {column-gap: .5rem}
  .st-key-compare-head > :nth-child(3) {flex-basis: 6rem !important}
  .st-key-compare-runs > * {flex: 1 1 100% !important}
  .st-key-compare-runs [data-testid=stSelectbox] input {font-size: .8125rem}
  [class*=st-key-machine-] > * {min-width: calc(50% - .5rem)}
  [data-testid=stMainBlockContainer]:has(.st-key-evaluate-metrics, .st-key-compare-runs) > [data-testid=stVerticalBlock] {gap: .5rem}
  [class*=st-key-chart-all-], .st-key-chart-together {overflow-x: auto}
  [class*=st-key-chart-all-] > * {min-width: 60rem}
  .st-key-chart-together > * {min-width: 38rem}
  .st-key-data-set > [data-testid=stLayoutWrapper] > [data-testid=stHorizontalBlock] {flex-wrap: wrap-reverse}
  .st-key-evaluate-head {row-gap: .25rem}
  .st-key-runs-head > .st-key-runs-filter {flex: 1 1 100% !important; order: 1}
  .st-key-runs-head > .st-key-runs-filter-box {margin-left: auto}
  .st-key-study-choice > .st-key-study {flex: 1 1 0 !important; min-width: 0}
  .st-key-study-runs-filters > * {flex: 1 1 40% !important}
  .st-key-evaluate-head > :nth-child(2) {flex: 1 1 100% !important}
  .st-key-evaluate-metrics {gap: .25rem 1rem}
  .st-key-evaluate-metrics [data-testid=stMetricValue] {font-size: 1.15rem}
  [data-testid=stHorizontalBlock]:has(> [data-testid=stColumn]) {row-gap: 1rem !important}
  .st-key-alignment-header > .st-key-alignment-result {flex: 1 1 100% !important; order: 1}
  .st-key-alignment-header > .st-key-measure-box ~ * {order: 2}
}
[data-testid=stToastContainer] {top: auto !important; bottom: 1rem; left: 0; right: auto; margin: 0 .5rem}
[data-testid=stToast] {width: 13.2rem; padding: .75rem; font-size: .875rem}
[data-testid=stMain] [data-testid=stPageLink]:not(.st-key-strip *) a {position: relative; left: -.5rem}
[data-testid=stMain] [data-variant=segmented_control] {min-height: 2.5rem}
.st-key-compare-runs [data-testid=stMultiSelect] [role=group] {height: auto; max-height: none}
.st-key-compare-runs [data-testid=stMultiSelectTagsContainer] [aria-label="Selected values"] > span {height: auto; min-height: 1.75rem}
.st-key-compare-runs [data-testid=stMultiSelectTagsContainer] [aria-label="Selected values"] > span > span {white-space: normal; overflow: visible; line-height: 1.25rem}
[data-testid=stExpander] details {height: auto !important; overflow: visible !important}
[data-testid=stExpanderDetails][inert] {display: none}
[data-testid=stHeading] :is(h1, h2) {padding: .3rem 0 .5rem}
[data-testid=stCaptionContainer], [data-testid=stMarkdownContainer] blockquote {opacity: .75}
[data-testid=stCaptionContainer] code {display: inline-block}
[data-testid=stMain] :is([data-testid=stMarkdownContainer], [data-testid=stCaptionContainer]) p {text-wrap-style: pretty}
.st-key-alignment-view {max-width: 20rem}
.st-key-start-line [data-testid=stCaptionContainer] {padding-bottom: .55rem}
[data-testid=stMarkdownContainer] blockquote p {color: inherit}
[role=tab]:is([aria-selected=true], :hover), [data-variant=segmented_control][data-selected=true], [data-variant=pills][data-selected=true],
[data-testid=stSliderThumbValue], button[kind=tertiary]:enabled {color: inherit !important}
button[kind=tertiary]:enabled:hover {opacity: .8}
.ctbench-picture {display: inline-flex; align-items: center; gap: .5rem; background: none; border: none; color: inherit; font: inherit; font-size: .875rem; padding: .4rem 0; cursor: pointer}
.ctbench-picture + .ctbench-picture {margin-left: 1rem}
[data-testid=stPlotlyChart] .modebar-btn[data-title^=Download] {display: none}
.ctbench-picture:hover {text-decoration: underline}
[data-testid=stPlotlyChart] :is(.xtick, .ytick, .x2tick, .y2tick) text, [data-testid=stPlotlyChart] :is(.xtitle, .ytitle, .x2title, .y2title, .colorbar text, .annotation-text) {
  fill: currentColor !important; fill-opacity: .8 !important
}
[data-testid=stMain] button[aria-label^="Help for"] {box-sizing: content-box; padding: 4px; margin: -4px}
[data-testid=stTabs] button[aria-label^="Scroll tabs"] {min-width: 24px}
[data-testid=stTab] {scroll-margin-inline: 2rem}
@keyframes ctbench-chosen-tab {}
[data-testid=stTab][aria-selected=true] {animation: ctbench-chosen-tab 1ms}
[data-testid=stMultiSelect] button:is([aria-label="Open"], [aria-label^="Remove "]) {min-width: 24px; min-height: 24px}
[data-testid=stMarkdownContainer] td, [data-testid=stTable] td, [data-testid=stTable] td * {overflow-wrap: anywhere !important}
[data-testid=stTable] td:first-child {width: 9.5rem}
[data-testid=stTable] th {min-width: 6rem}
[data-testid=stTable] th:first-child {min-width: 9.5rem}
[data-testid=stAlert] pre code {white-space: pre-wrap !important; overflow-wrap: anywhere}
[data-testid=stAlert] :is(pre, [data-testid=stCode]) {border: none !important; padding: 0 !important}
@media (prefers-reduced-motion: reduce) {
  *, ::before, ::after {animation-duration: 1ms !important; animation-delay: 0s !important; transition-duration: 1ms !important; scroll-behavior: auto !important}
}
</style>"""
