"""The short tables that verbs print for people."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from ctbench_core.checks import CheckResult
from ctbench_core.doctor import Diagnosis
from ctbench_core.formatting import format_metric
from ctbench_core.manifest import REASONS, Agreement, Prepared


def grid(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Lay out text in columns, the first to the left, the others to the right."""
    lines = [list(header), *(list(row) for row in rows)]
    widths = [max(len(line[i]) for line in lines) for i in range(len(header))]
    return "\n".join(
        "  ".join(
            cell.ljust(width) if i == 0 else cell.rjust(width) for i, (cell, width) in enumerate(zip(line, widths))
        )
        for line in lines
    )


def run_table(result: dict[str, Any]) -> str:
    """Return the macro figures of a run, and every finding's of its tests."""
    best = result["best_val"]
    rows = [["validation", *(format_metric(best[name]) for name in ("auprc", "auroc", "f1_macro")), "", ""]]
    for name, test in result["test"].items():
        mark = f"leak: {test['leak']['patients']} patients" if test["leak"]["patients"] else ""
        rows.append(
            [
                name,
                *(format_metric(test[key]) for key in ("auprc", "auroc", "f1_macro")),
                str(test["n"]["volumes"]),
                mark,
            ]
        )
    head = f"{result['state']} after {result['epochs']} epochs, best epoch {result['best_epoch']}"
    parts = [head, grid(["", "AUPRC", "AUROC", "F1", "N", ""], rows)]
    parts += [_per_class(name, test) for name, test in result["test"].items()]
    parts += [f"Warning: {text}" for text in result["warnings"]]
    parts += [f"Note: {text}" for text in result.get("notes", [])]
    return "\n".join([*parts, result["run_dir"]])


def _per_class(name: str, test: dict[str, Any]) -> str:
    columns = ("auprc", "auroc", "precision", "recall", "f1")
    rows = [
        [
            label,
            *(format_metric(values[column]) for column in columns),
            f"{values['support']:.0f}",
            test["undefined"].get(label, ""),
        ]
        for label, values in test["per_class"].items()
    ]
    return "\n" + grid([name, "AUPRC", "AUROC", "P", "R", "F1", "positives", ""], rows)


def score_table(result: dict[str, Any], name: str) -> str:
    """Return macro and per-finding figures of a table of predictions, with intervals."""
    rows = [
        [
            "macro",
            _with_interval(result, "auprc"),
            _with_interval(result, "auroc"),
            format_metric(result["f1_macro"]),
            "",
            "",
        ]
    ]
    for label, values in result["per_class"].items():
        positives, reason = f"{values['support']:.0f}", result["undefined"].get(label, "")
        figures = [_with_interval(values, "auprc"), _with_interval(values, "auroc"), format_metric(values["f1"])]
        rows.append([label, *figures, positives, reason])
    counts = result["n"]
    head = f"{name}: {counts['volumes']:,} rows, {counts['patients']:,} patients; 95 % intervals resample patients"
    parts = [head, grid(["", "AUPRC", "AUROC", "F1", "positives", ""], rows)]
    return "\n".join(
        [*parts, *(f"Warning: {text}" for text in result["warnings"]), *filter(None, [result.get("run_dir")])]
    )


def _with_interval(values: dict[str, Any], name: str) -> str:
    low, high = values[f"{name}_ci"]
    return format_metric(values[name]) + ("" if math.isnan(low) else f" [{format_metric(low)}, {format_metric(high)}]")


def alignment_table(result: dict[str, Any]) -> str:
    """Return Recall@K both ways with chance."""
    depths = sorted(int(name.rsplit("_", 1)[1]) for name in result if name.startswith("v_to_t_recall_at_"))
    rows = []
    for prefix, title in (("", "instance"), ("semantic_", "semantic")):
        for way, words in (("v_to_t", "visual to text"), ("t_to_v", "text to visual")):
            if f"{prefix}{way}_mrr" in result:
                recalls = [format_metric(result[f"{prefix}{way}_recall_at_{k}"]) for k in depths]
                rows.append([f"{title}, {words}", *recalls, format_metric(result[f"{prefix}{way}_mrr"])])
        if f"{prefix}v_to_t_chance_at_{depths[0]}" in result:
            chance = [format_metric(result[f"{prefix}v_to_t_chance_at_{k}"]) for k in depths]
            rows.append([f"{title}, chance", *chance, ""])
    means = f"mean similarity paired {format_metric(result['mean_paired_similarity'], 4)}, unpaired {format_metric(result['mean_unpaired_similarity'], 4)}"
    header = ["", *(f"R@{k}" for k in depths), "MRR"]
    size = ", ".join(f"{count:,} {unit}" for unit, count in result.get("n", {}).items())
    size = size or f"{result['samples_analyzed']:,} pairs"
    warnings = [f"Warning: {text}" for text in result["warnings"]]
    return "\n".join([f"{size}, {means}", grid(header, rows), *warnings, result["run_dir"]])


def check_table(result: CheckResult) -> str:
    """Return the verdict, counts by split, and every error and warning."""
    verdict = "Ready" if result.ok else f"{len(result.errors)} error{'s' if len(result.errors) > 1 else ''}"
    if result.ok and result.warnings:
        verdict += f" with {len(result.warnings)} warning{'s' if len(result.warnings) > 1 else ''}"
    rows = [
        [name, *(f"{counts[unit]:,}" for unit in ("volumes", "exams", "patients"))]
        for name, counts in result.counts.items()
    ]
    parts = [verdict, *(f"Error: {text}" for text in result.errors), *(f"Warning: {text}" for text in result.warnings)]
    parts += [f"Note: {text}" for text in result.notes]
    return "\n".join([*parts, grid(["split", "volumes", "exams", "patients"], rows)] if rows else parts)


def prepare_table(prepared: Prepared, written: bool) -> str:
    """Return the counts of a prepared manifest, what did not join, and the prevalence of each finding."""
    manifest = prepared.manifest
    counts = ", ".join(f"{count:,} {unit}" for unit, count in manifest.counts().items())
    parts = [f"{manifest.path if written else 'Preview, nothing written'}: {counts}"]
    for reason, names in prepared.unmatched.items():
        parts.append(f"{len(names):,} {REASONS[reason]} ({', '.join(names[:3])}{', ...' if len(names) > 3 else ''})")
    parts += [f"Warning: {text}" for text in prepared.warnings]
    known = (manifest.targets == manifest.targets).sum(axis=0)
    rows = [[label, format_metric(share), f"{n:,}"] for (label, share), n in zip(manifest.prevalence().items(), known)]
    return "\n".join([*parts, grid(["finding", "prevalence", "known"], rows)] if rows else parts)


def agreement_table(agreement: Agreement) -> str:
    """Return agreement, kappa and prevalences of every finding."""
    rows = [
        [
            row.finding,
            *(
                format_metric(value)
                for value in (row.agreement, row.kappa, row.prevalence_first, row.prevalence_second)
            ),
            f"{row.only_first:,}",
            f"{row.only_second:,}",
            f"{row.volumes:,}",
            row.undefined,
        ]
        for row in agreement.table.itertuples()
    ]
    counts = ", ".join(f"{count:,} {unit}" for unit, count in agreement.n.items())
    head = [
        f"{agreement.first} (1) and {agreement.second} (2) over {counts}",
        f"{agreement.only_first:,} volumes only in (1), {agreement.only_second:,} only in (2): left out",
    ]
    header = ["", "agreement", "kappa", "prevalence (1)", "(2)", "only (1)", "only (2)", "volumes", ""]
    return "\n".join([*head, grid(header, rows)])


def pack_table(result: dict[str, Any]) -> str:
    """Return size, audit and timings of the packed stores."""
    seconds = result["seconds"]
    rows = [
        [kind, f"{part['files']:,}", f"{part['files_read']:,}", str(part["dim"])]
        + [f"{part['audit'][name]:,}" for name in result["audit"]]
        for kind, part in result["parts"].items()
    ]
    header = ["", "files", "read now", "values", *(name.replace("_", " ") for name in result["audit"])]
    times = (
        f"open {1e3 * seconds['open']:.0f} ms, verify {1e3 * seconds['verify']:.0f} ms, read {seconds['read']:.2f} s"
    )
    parts = [f"{result['volumes']:,} volumes; {times}", grid(header, rows)]
    parts += [f"Warning: {text}" for text in result["warnings"]]
    return "\n".join([*parts, *(part["path"] for part in result["parts"].values() if part["path"])])


def doctor_table(diagnosis: Diagnosis) -> str:
    """Return every check by topic: its level, what was found, and what to do."""
    width = max(len(finding.name) for finding in diagnosis.findings)
    lines = []
    for topic in dict.fromkeys(finding.topic for finding in diagnosis.findings):
        lines += ["", topic.capitalize()]
        for finding in (one for one in diagnosis.findings if one.topic == topic):
            lines.append(f"  {finding.level:<8} {finding.name:<{width}}  {finding.found}")
            lines += [f"  {'':<8} {'':<{width}}  -> {finding.advice}"] if finding.advice else []
    counts = [len(diagnosis.of(level)) for level in ("error", "warning")]
    names = [f"{count} {name}{'' if count == 1 else 's'}" for count, name in zip(counts, ("error", "warning"))]
    return "\n".join([*lines[1:], "", f"{' and '.join(names)} in {diagnosis.seconds:.1f} s"])
