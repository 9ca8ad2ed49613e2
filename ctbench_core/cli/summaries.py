"""Format the results of verbs as short tables for people.

What one table alone needs is imported by its function: `check` does not load what `compare` needs.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from ctbench_core.declared import (
    CROSS_DIRECTIONS,
    INSTANCE,
    SEMANTIC,
    averaged_metrics,
    brief_metrics,
    macro_keys,
    metric_title,
    retrieval_prefix,
    short_title,
)
from ctbench_core.errors import Fix, first_rows
from ctbench_core.formatting import (
    UNDEFINED,
    format_bounds,
    format_cohort,
    format_interval,
    format_metric,
    format_p,
    format_pairs,
    plural,
)
from ctbench_core.overrides import fix_overrides, own_shell, quote_word
from ctbench_core.report import RECALIBRATION, is_recalibrated, prevalence_rows
from ctbench_core.runs import MacroMetric, Metrics

if TYPE_CHECKING:
    from ctbench_core.checks import CheckResult
    from ctbench_core.compare import Comparison
    from ctbench_core.config import Config
    from ctbench_core.doctor import Diagnosis
    from ctbench_core.manifest import Agreement, PreparedDataset, PrepareResult


def grid(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Align text in columns, the first to the left, the others to the right."""
    lines = [list(header), *(list(row) for row in rows)]
    widths = [max(len(line[i]) for line in lines) for i in range(len(header))]
    return "\n".join(
        "  ".join(
            cell.ljust(width) if i == 0 else cell.rjust(width) for i, (cell, width) in enumerate(zip(line, widths))
        ).rstrip()
        for line in lines
    )


def warning_lines(warnings: Sequence[str]) -> list[str]:
    """Return warnings as lines of their own."""
    return [f"Warning: {text}" for text in warnings]


def run_table(result: dict[str, Any]) -> str:
    """Return the macro metrics of a run, and the metrics of every finding on its test sets."""
    tests = {name: Metrics.from_json(test) for name, test in result["test"].items()}
    rows = [["validation", *(format_metric(result["best_val"].get(key)) for key in macro_keys()), "", ""]]
    for name, metrics in tests.items():
        leak = f"leak: {plural(metrics.leak_patients, 'patient')}" if metrics.leak_patients else ""
        values = [format_metric(metrics.macro_values.get(key)) for key in macro_keys()]
        rows.append([name, *values, f"{metrics.n['volumes']:,}", leak])
    head = f"{result['state']} after {plural(result['epochs'], 'epoch')}, best epoch {result['best_epoch']}"
    parts = [head, grid(["set", *map(metric_title, macro_keys()), "volumes", ""], rows)]
    parts += [_finding_table(name, metrics) for name, metrics in tests.items()]
    parts += warning_lines([*result["warnings"], *(text for metrics in tests.values() for text in metrics.warnings)])
    parts += [f"Note: {text}" for text in result.get("notes", [])]
    return "\n".join([*parts, result["run_dir"]])


def _finding_table(name: str, metrics: Metrics) -> str:
    keys = [metric.name for metric in brief_metrics()]
    rows = [
        [
            label,
            *(format_metric(finding.value(key)) for key in keys),
            f"{finding.value('support'):.0f}",
            metrics.note(label),
        ]
        for label, finding in metrics.findings.items()
    ]
    table = f"\n{name}\n{grid(['finding', *map(short_title, keys), short_title('support'), ''], rows)}"
    return table if metrics.external is None else f"{table}\n{_external_table(metrics)}"


def _external_table(metrics: Metrics) -> str:
    """Return the prevalences of a test set of another data set, and its calibration where it was recalibrated."""
    header, *rows = prevalence_rows(metrics)
    note = f"\nPlatt: fitted on validation. Recalibrated: {RECALIBRATION}." if is_recalibrated(metrics) else ""
    return f"\n{grid(header, rows)}{note}"


def score_table(result: dict[str, Any], name: str) -> str:
    """Return macro and per-finding metrics of a table of predictions, with the intervals of the same findings."""
    metrics = Metrics.from_json(result)
    declared, macro = averaged_metrics(), metrics.macro
    means = [macro[metric.macro] for metric in declared]
    rows = [["macro", *(format_interval(one.value, one.interval.to_list()) for one in means), "", ""]]
    if any(one.eligible for one in means):
        of_eligible = [one.eligible or MacroMetric(math.nan) for one in means]
        cells = [format_interval(one.value, one.interval.to_list()) for one in of_eligible]
        count = " or ".join(dict.fromkeys(str(one.findings) for one in of_eligible if one.findings))
        rows.append([f"macro of {count} eligible", *cells, "", ""])
    for label, finding in metrics.findings.items():
        cells = [format_interval(finding.value(one.name), finding.interval(one.name).to_list()) for one in declared]
        rows.append([label, *cells, f"{finding.value('support'):.0f}", metrics.note(label)])
    n = metrics.n
    head = f"{name}: {plural(n['volumes'], 'row')}, {plural(n['patients'], 'patient')}; 95 % CI by patients"
    titles = [metric.title for metric in declared]
    parts = [head, grid(["finding", *titles, metric_title("support"), ""], rows)]
    return "\n".join([*parts, *warning_lines(metrics.warnings), *filter(None, [result.get("run_dir")])])


def comparison_table(comparison: Comparison) -> str:
    """Return the differences of every finding with interval and p, and what they answer, in sentences."""
    from ctbench_core.report import comparison_notes, difference_text, interval_title

    swapped = bool(comparison.settings["swaps"])
    rows = [
        [
            _row_title(row.a, row.b, row.label),
            metric_title(row.metric),
            difference_text(row.delta, (row.lo, row.hi), (row.range_lo, row.range_hi)),
            format_p(row.p),
            format_p(row.p_adjusted),
            *([format_p(row.p_swap)] if swapped else []),
            format_metric(row.detectable),
        ]
        for row in comparison.differences.itertuples()
    ]
    common = comparison.common
    head = f"{comparison.on}: {format_cohort(common.n)} in common"
    if common.left_out:
        head += f", {plural(common.left_out, 'volume')} excluded"
    title = interval_title(comparison.differences, "difference")
    header = ["finding", "metric", title, "p", "p (adjusted)", *(["p (rank swap)"] if swapped else [])]
    parts = [head, grid([*header, "detectable"], rows)]
    if comparison.settings["family"]:
        family = comparison.differences["family"].iloc[0]
        parts.append(f"p is adjusted by Benjamini-Hochberg over {family}; intervals are not adjusted.")
    parts += comparison_notes(comparison)
    return "\n".join([*parts, " · ".join(comparison.disclosures.sentences())])


def _row_title(first: str, second: str, label: str) -> str:
    from ctbench_core.inference import ELIGIBLE, MACRO

    if label == MACRO:
        return f"{first} − {second}"
    return "  eligible findings" if label == ELIGIBLE else f"  {label}"


def alignment_table(result: dict[str, Any]) -> str:
    """Return Recall@K in both directions, with its chance level."""
    start = retrieval_prefix(INSTANCE, CROSS_DIRECTIONS[0].name) + "recall_at_"
    depths = sorted(int(name.removeprefix(start)) for name in result if name.startswith(start))
    rows = []
    for hits in (INSTANCE, SEMANTIC):
        prefixes = {direction.words: retrieval_prefix(hits, direction.name) for direction in CROSS_DIRECTIONS}
        measured = {words: prefix for words, prefix in prefixes.items() if f"{prefix}mrr" in result}
        for words, prefix in measured.items():
            recalls = [format_metric(result[f"{prefix}recall_at_{k}"]) for k in depths]
            rows.append([f"{hits}, {words}", *recalls, format_metric(result[f"{prefix}mrr"])])
        chances = [[format_metric(result[f"{prefix}chance_at_{k}"]) for k in depths] for prefix in measured.values()]
        titles = ["chance"] if chances[1:] == chances[:1] else [f"chance, {words}" for words in measured]
        rows += [[f"{hits}, {title}", *chance, ""] for title, chance in zip(titles, chances)]
    paired, unpaired = (format_metric(result[f"mean_{kind}_similarity"], 4) for kind in ("paired", "unpaired"))
    size = format_cohort(result["n"]) if result.get("n") else format_pairs(result)
    head = f"{size}, mean similarity: paired {paired}, unpaired {unpaired}"
    table = grid(["", *(f"R@{k}" for k in depths), "MRR"], rows)
    return "\n".join([head, table, *warning_lines(result["warnings"]), result["run_dir"]])


def check_table(result: CheckResult, config: Config) -> str:
    """Return the verdict, every error and warning with the overrides that solve it, and the size of each split."""
    verdict = "Ready" if result.ok else plural(len(result.errors), "error")
    if result.ok and result.warnings:
        verdict += f" with {plural(len(result.warnings), 'warning')}"
    units = ("volumes", "exams", "patients")
    rows = [[name, *(f"{counts[unit]:,}" for unit in units)] for name, counts in result.counts.items()]
    parts = [verdict]
    for title, texts in (("Error", result.errors), ("Warning", result.warnings)):
        for text in texts:
            parts += [f"{title}: {text}", *fix_lines(result.fixes.get(text, ()), config)]
    parts += [f"Note: {text}" for text in result.notes]
    return "\n".join([*parts, grid(["split", *units], rows)] if rows else parts)


def fix_lines(fixes: Sequence[Fix], config: Config) -> list[str]:
    """Return the overrides of each fix, a line each, quoted for a shell where they need it."""
    return [f"  Fix: {' '.join(map(_quoted, fix_overrides(config, fix)))}  ({fix.label})" for fix in fixes]


def _quoted(word: str) -> str:
    """Quote a word for a shell, in double quotes where these suffice, since its values have single ones."""
    plain = set(word).isdisjoint('"$`\\!\u201c\u201d\u201e')
    quoted = quote_word(word, own_shell())
    return quoted if quoted == word or not plain else f'"{word}"'


def prepare_table(prepared: PrepareResult, written: bool) -> str:
    """Return the size of a prepared manifest, the rows that did not join, and the prevalence of each finding."""
    from ctbench_core.manifest import UNMATCHED_REASONS

    manifest = prepared.manifest
    parts = [f"{manifest.path if written else 'Preview, nothing written'}: {format_cohort(manifest.counts())}"]
    for reason, names in prepared.unmatched.items():
        examples = f"{', '.join(names[:3])}{', ...' if len(names) > 3 else ''}"
        parts.append(f"{len(names):,} {UNMATCHED_REASONS[reason]} ({examples})")
    parts += [*warning_lines(prepared.warnings), *(f"Note: {text}" for text in prepared.notes)]
    known = (manifest.targets == manifest.targets).sum(axis=0)
    rows = [[label, format_metric(share), f"{n:,}"] for (label, share), n in zip(manifest.prevalence().items(), known)]
    return "\n".join([*parts, grid(["finding", "prevalence", "labelled"], rows)] if rows else parts)


def dataset_table(prepared: PreparedDataset) -> str:
    """Return the files of a data set, its label convention, what did not join, and each manifest's size and prevalence."""
    dataset, manifests = prepared.dataset, [part.manifest for part in prepared.parts]
    parts = [f"{dataset.title}. {dataset.terms} {dataset.note}".rstrip()]
    parts += [f"Read: {title}: {path}" for title, path in prepared.files]
    convention = ", ".join(f"{name}={value}" for name, value in prepared.convention.items())
    parts.append(f"Label convention: {convention}")
    parts += prepared.joined
    for reason, names in prepared.unmatched.items():
        parts.append(f"{len(names):,} {reason} ({', '.join(names[:3])}{', ...' if len(names) > 3 else ''})")
    parts += [*warning_lines(prepared.warnings), *(f"Note: {text}" for text in prepared.notes)]
    units = ("volumes", "exams", "patients")
    sizes = [[manifest.name, *(f"{manifest.counts()[unit]:,}" for unit in units)] for manifest in manifests]
    header, rows = ["prevalence"], [[label] for label in manifests[0].labels]
    for part in prepared.parts:
        shares = part.manifest.prevalence()
        shown = {" as written": shares | part.before, "": shares} if part.before else {"": shares}
        header += [f"{part.manifest.name}{word}" for word in shown]
        for i, row in enumerate(rows):
            row += [format_metric(values[manifests[0].labels[i]]) for values in shown.values()]
    return "\n".join([*parts, grid(["manifest", *units], sizes), grid(header, rows)])


def agreement_table(agreement: Agreement) -> str:
    """Return agreement, kappa and prevalences of every finding."""
    rows = [
        [
            row.finding,
            *map(format_metric, (row.agreement, row.kappa, row.prevalence_first, row.prevalence_second)),
            f"{row.only_first:,}",
            f"{row.only_second:,}",
            f"{row.volumes:,}",
            row.undefined,
        ]
        for row in agreement.table.itertuples()
    ]
    excluded = f"{plural(agreement.only_first, 'volume')} only in (1), {agreement.only_second:,} only in (2)"
    head = [
        f"{agreement.first} (1) and {agreement.second} (2) on {format_cohort(agreement.n)}",
        f"Excluded: {excluded}",
        *(
            f"Findings only in ({number}), not compared: {first_rows(names, 'finding')}"
            for number, names in ((1, agreement.findings_only_first), (2, agreement.findings_only_second))
            if names
        ),
    ]
    header = [
        "finding",
        "agreement",
        "kappa",
        "prevalence (1)",
        "prevalence (2)",
        "only (1)",
        "only (2)",
        "volumes",
        "",
    ]
    return "\n".join([*head, grid(header, rows), *warning_lines(agreement.warnings)])


def pack_table(result: dict[str, Any]) -> str:
    """Return size, audit and timings of the packed stores."""
    seconds = result["seconds"]
    rows = [
        [kind, f"{part['files']:,}", f"{part['files_read']:,}", str(part["dim"])]
        + [f"{part['audit'][name]:,}" for name in result["audit"]]
        for kind, part in result["parts"].items()
    ]
    header = ["features", "files", "files read", "dimensions", *(name.replace("_", " ") for name in result["audit"])]
    times = (
        f"open {1e3 * seconds['open']:.0f} ms, verify {1e3 * seconds['verify']:.0f} ms, read {seconds['read']:.2f} s"
    )
    parts = [f"{plural(result['volumes'], 'volume')}; {times}", grid(header, rows), *warning_lines(result["warnings"])]
    return "\n".join([*parts, *(part["path"] for part in result["parts"].values() if part["path"])])


def search_table(result: dict[str, Any]) -> str:
    """Return the counts of a search and its best trial."""
    counts = f"{plural(result['trials'], 'trial')}, {result['pruned']} pruned, {result['failed']} failed"
    best = result["best"]
    if not best:
        return f"{counts}\n{result['study_dir']}"
    rows = [[key, str(value)] for key, value in best["params"].items()]
    value = f"Best validation metric {format_metric(best['value'], 4)}"
    parts = [counts, value, grid(["parameter", "value"], rows)]
    if again := result["again"]:
        spread = f"{format_metric(again['mean'], 4)} ± {format_metric(again['sd'], 4)}"
        parts.append(f"With {plural(again['n'], 'new seed')} (validation): {spread}, {again['study_dir']}")
    return "\n".join([*parts, *warning_lines(result["warnings"]), best["run_dir"], result["study_dir"]])


def _cell_metric(cell: dict[str, Any]) -> str:
    name = cell["metric"].removesuffix("_eligible")
    return (
        metric_title(name)
        if name == cell["metric"]
        else f"{metric_title(name)}, {cell['findings']:.0f} eligible findings"
    )


def _range(cell: dict[str, Any]) -> str:
    """Write the range over seeds or folds."""
    return format_bounds((cell["range_lo"], cell["range_hi"])) or UNDEFINED


def _difference_lines(rows: Sequence[dict[str, Any]]) -> list[str]:
    """Return the differences of macro means as a table, with the family of their adjustment by axis."""
    import pandas as pd

    from ctbench_core.inference import ELIGIBLE, MACRO
    from ctbench_core.report import difference_text, interval_title

    macros = [row for row in rows if row["label"] in (MACRO, ELIGIBLE)]
    if not macros:
        return []
    cells = [
        [
            f"{row['a']} − {row['b']}" + (" (eligible findings)" if row["label"] == ELIGIBLE else ""),
            metric_title(row["metric"]),
            difference_text(row["delta"], (row["lo"], row["hi"]), (row["range_lo"], row["range_hi"])),
            format_p(row["p"]),
            format_p(row["p_adjusted"]),
        ]
        for row in macros
    ]
    families = dict.fromkeys(f"{row['family']} tests along {row['axis']}" for row in rows)
    notes = [
        f"For {'; '.join(dict.fromkeys(row['question'] for row in rows))}. p is adjusted by Benjamini-Hochberg over "
        f"{', '.join(families)}; intervals are not adjusted."
    ]
    title = interval_title(pd.DataFrame(macros), "difference")
    return [grid(["macro difference", "metric", title, "p", "p (adjusted)"], cells), *notes]


def study_table(result: dict[str, Any]) -> str:
    """Return the counts of a study, and mean, SD and interval of every cell."""
    parts = [
        f"{plural(result['runs'], 'run')}, " + ", ".join(f"{result[n]} {n}" for n in ("finished", "reused", "failed"))
    ]
    cells = result["by_cell"]
    rows = [
        [
            " · ".join(cell["cell"].values()) or "all",
            _cell_metric(cell),
            format_interval(cell["mean"], (cell["lo"], cell["hi"])),
            _range(cell) if math.isnan(cell["lo"]) else "",
            format_metric(cell["std"]),
            str(cell["n"]),
        ]
        for cell in cells
    ]
    if rows:
        parts.append(grid([cells[0]["set"], "metric", "mean [95 % CI]", "range", "SD", "runs"], rows))
        parts += [f"Note: {text}" for text in dict.fromkeys(cell["reason"] for cell in cells) if text]
    parts += _difference_lines(result["differences"])
    parts += [f"Error: {text}" for text in result["errors"][:5]]
    parts += warning_lines(result["warnings"])
    if result["stopped"]:
        parts.append("Stopped. The same command continues.")
    return "\n".join([*parts, *filter(None, [result["table"]]), result["study_dir"]])


def doctor_table(diagnosis: Diagnosis) -> str:
    """Return every check by topic: its level, what it saw, and what to do."""
    width = max(len(outcome.name) for outcome in diagnosis.outcomes)
    lines = []
    for topic in dict.fromkeys(outcome.topic for outcome in diagnosis.outcomes):
        lines += ["", topic.capitalize()]
        for outcome in (outcome for outcome in diagnosis.outcomes if outcome.topic == topic):
            lines.append(f"  {outcome.level:<8} {outcome.name:<{width}}  {outcome.observation}")
            lines += [f"  {'':<8} {'':<{width}}  -> {outcome.advice}"] if outcome.advice else []
    counts = " and ".join(plural(len(diagnosis.of(level)), level) for level in ("error", "warning"))
    return "\n".join([*lines[1:], "", f"{counts} in {diagnosis.seconds:.1f} s"])
