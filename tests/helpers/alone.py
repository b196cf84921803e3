"""What an exported model of texts answers in a process that has TensorFlow and nothing else."""

import json
import subprocess
import sys

_PROCESS = """
import json, sys
for name in ("keras", "tf_keras", "modelzoo"):
    sys.modules[name] = None
import tensorflow as tf

def plain(value):
    if isinstance(value, list):
        return [plain(part) for part in value]
    return value.decode() if isinstance(value, bytes) else value

serve = tf.saved_model.load(sys.argv[1])
texts = [bytes(text) for text in json.load(open(sys.argv[2]))]
for part in (texts, []):
    got = serve.signatures["serving_default"](text=tf.constant(part, tf.string))
    print(json.dumps({name: plain(value.numpy().tolist()) for name, value in got.items()}))
"""


def served_alone(version, texts, folder):
    """What the exported version gives for the texts, in bytes, and for none at all: values by name.

    folder: where the texts are written for the process to read.
    """
    (folder / "texts.json").write_text(json.dumps([list(text) for text in texts]))
    command = [sys.executable, "-c", _PROCESS, version, folder / "texts.json"]
    alone = subprocess.run(command, capture_output=True, text=True, check=False)
    assert alone.returncode == 0, alone.stderr
    some, none = (json.loads(line) for line in alone.stdout.splitlines())
    return some, none
