"""From a catalogue of 1.2 million rows to the sample: our three stages beside the thesis' pandas notebook, interleaved.

python bench/sample.py [--rows N] [--rounds N]
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
top = df["landmark_id"].value_counts().head(10).index
pd.concat([df[df["landmark_id"] == landmark].head(200) for landmark in top]).to_csv(sys.argv[2], index=False)
"""


def make(path: Path, rows: int) -> None:
    """A CSV shaped like the Kaggle file: 14,947 landmarks, 30 % of them with one row, the commonest with tens of thousands."""
    rng = np.random.default_rng(0)
    landmarks, single = 14_946, 14_946 * 3 // 10
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


def timed(*commands: list[str]) -> tuple[float, float]:
    """Seconds of the commands one after the other, and the largest peak memory, GB."""
    seconds, peak = 0.0, 0.0
    for command in commands:
        done = subprocess.run(
            ["/usr/bin/time", "-f", "%e %M", *command], cwd=ROOT, capture_output=True, text=True, check=True
        )
        took, kilobytes = done.stderr.split()[-2:]
        seconds, peak = seconds + float(took), max(peak, float(kilobytes) / 1e6)
    return seconds, peak


def main(
    rows: Annotated[int, typer.Option(help="Rows of the catalogue")] = 1_225_029,
    rounds: Annotated[int, typer.Option(help="Rounds; the median counts")] = 5,
) -> None:
    """Print seconds and peak memory of both ways, and their ratio."""
    with tempfile.TemporaryDirectory() as folder:
        source, out = Path(folder) / "train.csv", Path(folder) / "out"
        out.mkdir()
        make(source, rows)
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
            [sys.executable, "src/sample.py", str(out / "clean.parquet"), str(out / "sample.csv")],
        ]
        thesis = [sys.executable, "-c", THESIS, str(source), str(out / "thesis.csv")]
        timed(thesis, *ours)  # once, so that both find their files in memory
        results = [(timed(*ours), timed(thesis)) for _ in range(rounds)]
    (our_s, our_gb), (their_s, their_gb) = (
        [statistics.median(pair[side][k] for pair in results) for k in (0, 1)] for side in (0, 1)
    )
    print(f"{rows:,} rows, median of {rounds}")
    print(f"catalogue + clean + sample  {our_s:.2f} s  {our_gb:.2f} GB  (checks ids and columns, writes every step)")
    print(f"pandas, as in the notebook  {their_s:.2f} s  {their_gb:.2f} GB")
    print(f"ratio {statistics.median(a[0] / b[0] for a, b in results):.2f}")


if __name__ == "__main__":
    typer.run(main)
