"""How results are written for a paper: Methods, LaTeX and tables, for one run or a comparison."""

from ctbench_core.report.comparison import paper_files, write_paper
from ctbench_core.report.evaluation import run_paper
