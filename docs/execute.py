"""Executes the notebooks of this folder, each in an empty folder, and stores their outputs.

pip install nbclient ipykernel && python docs/execute.py
"""

import re
import tempfile
from pathlib import Path

import nbformat
from nbclient import NotebookClient


def visible_text(text: str) -> str:
    """The text as a terminal shows it, without what carriage returns overwrite."""
    lines = (re.sub(r" +$", "", line.rstrip("\r").split("\r")[-1]) for line in text.split("\n"))
    return "\n".join(lines)


def join_streams(outputs: list) -> list:
    """The outputs, with adjacent pieces of one stream joined."""
    found = []
    for output in outputs:
        last = found[-1] if found else {}
        if output.output_type == "stream" and last.get("name") == output.name:
            last.text += output.text
        else:
            found.append(output)
    for output in found:
        if output.output_type == "stream":
            output.text = visible_text(output.text)
    return found


def execute(path: Path) -> None:
    """Executes a notebook and writes it with its outputs, without times and paths."""
    notebook = nbformat.read(path, as_version=4)
    for cell in notebook.cells:
        cell.metadata = {}
    with tempfile.TemporaryDirectory() as folder:
        resources = {"metadata": {"path": folder}}
        NotebookClient(notebook, timeout=600, kernel_name="python3", resources=resources).execute()
    for cell in notebook.cells:
        cell.metadata = {}
        if cell.cell_type == "code":
            cell.outputs = join_streams(cell.outputs)
    kernel = {"name": "python3", "language": "python", "display_name": "Python 3"}
    notebook.metadata = {"kernelspec": kernel, "language_info": {"name": "python"}}
    nbformat.write(notebook, path)


if __name__ == "__main__":
    for file in sorted(Path(__file__).parent.glob("*.ipynb")):
        execute(file)
        print(f"executed {file}")
