"""The usage line and the flags of every verb, for its help: nothing here needs what the verb needs."""

from __future__ import annotations

from typing import Any

from ctbench_core.declared import DATASETS
from ctbench_core.executors import SYSTEMS

WORKERS_USAGE = "[--workers N] [--cluster SYSTEM or ADDRESS] [--with queue=..,walltime=..]"
CLUSTER_USAGE = f"{WORKERS_USAGE} [--detach]"
CLUSTER_FLAGS: dict[str, dict[str, Any]] = {
    "--workers": {
        "type": int,
        "metavar": "N",
        "help": "work in N processes of this machine, one a GPU, or in N jobs of --cluster; 0: in this process",
    },
    "--cluster": {
        "metavar": "WHERE",
        "help": f"queueing system whose jobs are the workers ({', '.join(SYSTEMS)}), or a Dask scheduler: tls://host:port",
    },
    "--with": {
        "dest": "requests",
        "action": "append",
        "metavar": "A=B,C=D",
        "help": "what a job asks for: queue, account, walltime, gres, mem, cores; also threads, interface, insecure",
    },
    "--detach": {"action": "store_true", "help": "go on in the background, also after this terminal is closed"},
}
WORKERS_FLAGS = {flag: given for flag, given in CLUSTER_FLAGS.items() if flag != "--detach"}
COMPARE_USAGE = (
    "<run directory> <run directory> ... [on=<test set|validation>] [by=run|recipe] [margin=<difference>] "
    "[swaps=<number>] [paper=<folder>]"
)
AGREE_USAGE = "first_csv=<manifest> second_csv=<manifest> [key=value ...]"
PREPARE_USAGE = (
    f"dataset={'|'.join(DATASETS)} root=<folder or file> [output_file=<folder or manifest>] [split=...] "
    "[collapse=any|majority] [visual_prefix=...] [visual_suffix=...] [data.labels.*=...]\n       or: "
    "labels_csv=<table> [split_csv=<table or feature folder>] [metadata_csv=<table>] [reports_csv=<table>] "
    "[mapping_csv=<accession table>] [output_file=<manifest>] [split=...] [collapse=any|majority] [location_separator='*'] "
    "[accession_column=AccessionNo] [mapped_column=NameinCTRATE] [metadata_columns=[...]] [report_columns=[...]] "
    "[visual_prefix=image] [visual_suffix=.npz] [visual_level=volume|exam] "
    "[text_prefix=...] [text_suffix=.npz] [text_level=volume|exam] [key=value ...]"
)
APP_USAGE = "[--port PORT] [--host ADDRESS] [--outputs FOLDER] [--no-browser]"
APP_FLAGS: dict[str, dict[str, Any]] = {
    "--port": {"type": int, "help": "the port (default: the first free one from 8501 on)"},
    "--host": {"help": "the address to listen on (default: this machine alone); others need CTBENCH_ROOTS"},
    "--outputs": {"help": "the run store (default: CTBENCH_OUTPUTS, or outputs in this folder)"},
    "--no-browser": {"dest": "browser", "action": "store_false", "help": "do not open the browser"},
}
IMPORT_USAGE = "<run folder, or a folder of runs> [list=true] [paths.outputs_root=...] [key=value ...]"
AGGREGATE_USAGE = (
    "<folder of runs> [source=gpt] [again=true] [output_dir=outputs/aggregated_results] [output_prefix=...] "
    "[paths.manifest_dir=...] [data.test_manifests=[...]]"
)
CONTRAST_USAGE = (
    "first=<folder of runs or per-run CSV> second=<the same> [first_name=manual] [second_name=gpt], "
    "or <folder of runs> first=<source> second=<source>; [budgets=[...]] [metrics=[...]] "
    "[pair_keys=[budget_n,cv_fold,utils_seed]] [output_dir=...] [output_prefix=...]"
)
BUDGETS_USAGE = (
    "budgets=[50,100,all] seeds=[42,43] [data.kfold.folds=5] [data.budget_unit=patient|exam|volume] "
    "[data.selection=<selection_index.csv>] [output_dir=<manifest_dir>/budget_splits] [prefix=...] [key=value ...]"
)
STUDY_USAGE = f"<study.yaml or study folder> [key=value ...] {CLUSTER_USAGE} [--shard i/n] [--dry-run] [--sbatch N]"
SEARCH_USAGE = (
    "[search.yaml or search folder] [trials=30] [batch=3] [again=5] [name=...] [key=interval(low,high)] [key=a,b] "
    f"[key=value ...] {CLUSTER_USAGE}"
)
STUDY_FLAGS: dict[str, dict[str, Any]] = {
    **CLUSTER_FLAGS,
    "--shard": {
        "metavar": "I/N",
        "help": "start at part I of N of the plan, for job arrays; shards help each other at the end",
    },
    "--dry-run": {"action": "store_true", "help": "show the number of runs, and train none"},
    "--sbatch": {"type": int, "metavar": "N", "help": "plan the study, and write a job array of N shards for sbatch"},
}
TRAIN_FLAGS: dict[str, dict[str, Any]] = {
    "--multirun -m": {"action": "store_true", "help": "comma lists define a grid, which is run as a study"},
    **STUDY_FLAGS,
}
