"""Make the page of the notebook: its texts, code and stored outputs."""

from __future__ import annotations

import base64
from typing import Any

from docs.notebook import read_notebook, source_of

FOLDER = "notebook-pictures"


def make_pages() -> dict[str, str | bytes]:
    """Return the page and its pictures, by their places in the site."""
    files: dict[str, str | bytes] = {}
    parts = []
    for cell in read_notebook()["cells"]:
        if cell["cell_type"] == "markdown":
            parts.append(source_of(cell))
            continue
        parts.append(f"```python\n{source_of(cell)}\n```")
        for output in cell["outputs"]:
            if "data" in output and "image/png" in output["data"]:
                place = f"{FOLDER}/{cell['id']}.png"
                files[place] = base64.b64decode(output["data"]["image/png"])
                parts.append(f"![The figure of {source_of(cell).splitlines()[-1]}]({place})")
            else:
                parts.append(_shown(output))
    title, *rest = parts
    note = "This page is `examples/demo.ipynb` with its outputs: open the file in Jupyter, and run it."
    return {"notebook.md": "\n\n".join([title, note, *rest]) + "\n", **files}


def _shown(output: dict[str, Any]) -> str:
    """Return an output as Markdown: a table of HTML, or text."""
    data = output.get("data", {})
    if "text/html" in data:
        # Headings of outputs stay out of the page's contents.
        html = "".join(data["text/html"]).replace("<h4>", "<p><strong>").replace("</h4>", "</strong></p>")
        return "\n".join(line.strip() for line in html.splitlines() if line.strip())
    return f"```text\n{''.join(data.get('text/plain', output.get('text', []))).rstrip()}\n```"
