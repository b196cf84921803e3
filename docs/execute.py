"""Executes the notebooks of this folder anew, each in an empty folder, and stores what they show.

pip install nbclient ipykernel && python docs/execute.py
"""

import re
import tempfile
from pathlib import Path

import nbformat
from nbclient import NotebookClient


def shown(text: str) -> str:
    """The text as a screen shows it: what carriage returns write over is gone."""
    lines = (re.sub(r" +$", "", line.rstrip("\r").split("\r")[-1]) for line in text.split("\n"))
    return "\n".join(lines)


def joined(outputs: list) -> list:
    """The outputs with what was written to one stream in a piece, as a screen shows it."""
    found = []
    for output in outputs:
        last = found[-1] if found else {}
        if output.output_type == "stream" and last.get("name") == output.name:
            last.text += output.text
        else:
            found.append(output)
    for output in found:
        if output.output_type == "stream":
            output.text = shown(output.text)
    return found


def execute(path: Path) -> None:
    """Executes a notebook and writes it with its outputs, and nothing of when and where."""
    notebook = nbformat.read(path, as_version=4)
    for cell in notebook.cells:
        cell.metadata = {}
    with tempfile.TemporaryDirectory() as folder:
        resources = {"metadata": {"path": folder}}
        NotebookClient(notebook, timeout=600, kernel_name="python3", resources=resources).execute()
    for cell in notebook.cells:
        cell.metadata = {}
        if cell.cell_type == "code":
            cell.outputs = joined(cell.outputs)
    kernel = {"name": "python3", "language": "python", "display_name": "Python 3"}
    notebook.metadata = {"kernelspec": kernel, "language_info": {"name": "python"}}
    nbformat.write(notebook, path)


if __name__ == "__main__":
    for file in sorted(Path(__file__).parent.glob("*.ipynb")):
        execute(file)
        print(f"executed {file}")
