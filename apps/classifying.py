"""Classify images by a logged model: `python -I classifying.py FOLDER`, a process of its own.

A model brings the code it was logged with, a package named `stages` like the one that the applications
import, and one process cannot hold two packages of one name. So this file is run by its path and imports
nothing of Convoy. A request is a line on the standard input, a JSON list of PNG files in Base64; the answer
is a line on the standard output, a JSON list of [label, confidence]. The first answer, an empty one, says
that the model is loaded.
"""

import base64
import json
import os
import sys


def main(folder: str) -> None:
    """Answer requests until the standard input ends.

    Args:
        folder: The model as MLflow has saved it.
    """
    import mlflow
    import pandas as pd

    # What libraries print is no answer.
    answers = os.fdopen(os.dup(sys.stdout.fileno()), "w")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    model = mlflow.pyfunc.load_model(folder)
    print("[]", file=answers, flush=True)
    for line in sys.stdin:
        table = pd.DataFrame({"image": [base64.b64decode(text) for text in json.loads(line)]})
        rows = model.predict(table)
        pairs = zip(rows["label"], rows["probability"], strict=True)
        answer = [[str(label), float(confidence)] for label, confidence in pairs]
        print(json.dumps(answer), file=answers, flush=True)


if __name__ == "__main__":
    main(sys.argv[1])
