"""From a catalogue of 1.2 million rows to the sample: our three stages beside the thesis' pandas notebook, interleaved.

python bench/sample.py [--rows N] [--rounds N]
python bench/sample.py --rows 4132914 --landmarks 203094 --classes 1000 --per-class 200   the size of Google Landmarks v2
"""

import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Annotated

import numpy as np
import typer

ROOT = Path(__file__).parent.parent
NULLS = 34_330  # rows with the string None in the Kaggle file of 2018
THESIS = """
import sys, pandas as pd
df = pd.read_csv(sys.argv[1])
df = df[df["landmark_id"] != "None"].dropna()
top = df["landmark_id"].value_counts().head(int(sys.argv[3])).index
pd.concat([df[df["landmark_id"] == landmark].head(int(sys.argv[4])) for landmark in top]).to_csv(sys.argv[2], index=False)
"""


def make(path: Path, rows: int, landmarks: int) -> None:
    """A CSV shaped like the Kaggle file: 30 % of the landmarks have one row, the commonest tens of thousands."""
    rng = np.random.default_rng(0)
    single = landmarks * 3 // 10
    weights = 1 / (np.arange(1, landmarks - single + 1) + 25) ** 1.25
    drawn = rng.choice(landmarks - single, rows - single - NULLS, p=weights / weights.sum()) + single
    column = np.concatenate([np.arange(single), drawn, np.full(NULLS, -1)])
    rng.shuffle(column)
    with path.open("w") as file:
        file.write("id,url,landmark_id\n")
        for index, landmark in enumerate(column):
            name = f"{index * 2654435761 % 2**64:016x}"
            file.write(
                f"{name},https://host{index % 9}.example/{name}/{name}/s1600/,{landmark if landmark >= 0 else 'None'}\n"
            )


def timed(*commands: list[str]) -> tuple[float, float, float]:
    """Seconds of the commands one after the other, by the clock and of CPU, and the largest peak memory, GB."""
    seconds, busy, peak = 0.0, 0.0, 0.0
    for command in commands:
        done = subprocess.run(
            ["/usr/bin/time", "-f", "%e %U %S %M", *command], cwd=ROOT, capture_output=True, text=True, check=True
        )
        took, user, system, kilobytes = map(float, done.stderr.split()[-4:])
        seconds, busy, peak = seconds + took, busy + user + system, max(peak, kilobytes / 1e6)
    return seconds, busy, peak


def main(
    rows: Annotated[int, typer.Option(help="Rows of the catalogue")] = 1_225_029,
    rounds: Annotated[int, typer.Option(help="Rounds; the median counts")] = 5,
    landmarks: Annotated[int, typer.Option(help="Landmarks of the catalogue")] = 14_946,
    classes: Annotated[int, typer.Option(help="Landmarks of the sample")] = 10,
    per_class: Annotated[int, typer.Option(help="Photos of each; half as many in reserve")] = 200,
) -> None:
    """Print seconds and peak memory of both ways, and their ratio."""
    with tempfile.TemporaryDirectory() as folder:
        source, out = Path(folder) / "train.csv", Path(folder) / "out"
        out.mkdir()
        make(source, rows, landmarks)
        sizes = {"classes": classes, "per-class": per_class, "reserve": per_class // 2}
        ours = [
            [
                sys.executable,
                "src/catalogue.py",
                str(out / "catalogue.csv"),
                str(out / "catalogue.json"),
                "--source",
                str(source),
            ],
            [
                sys.executable,
                "src/clean.py",
                str(out / "catalogue.csv"),
                str(out / "clean.parquet"),
                str(out / "clean.json"),
            ],
            [
                sys.executable,
                "src/sample.py",
                str(out / "clean.parquet"),
                str(out / "sample.csv"),
                *(f"--{name}={value}" for name, value in sizes.items()),
            ],
        ]
        thesis = [sys.executable, "-c", THESIS, str(source), str(out / "thesis.csv"), str(classes), str(per_class)]
        timed(thesis, *ours)  # once, so that both find their files in memory
        results = [(timed(*ours), timed(thesis)) for _ in range(rounds)]
    print(
        f"{rows:,} rows to {classes} x {per_class}, median of {rounds}: seconds, seconds of CPU, most memory of a process"
    )
    names = "catalogue + clean + sample (checks ids and columns, writes every step)", "pandas, as in the notebook"
    for side, name in enumerate(names):
        seconds, busy, peak = (statistics.median(pair[side][k] for pair in results) for k in range(3))
        print(f"{seconds:6.2f} s {busy:6.2f} s {peak:5.2f} GB  {name}")
    print(f"ratio {statistics.median(a[0] / b[0] for a, b in results):.2f}")


if __name__ == "__main__":
    typer.run(main)
