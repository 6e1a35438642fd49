"""The nine first answers as a plain pandas computation gives them."""

import tomllib
from pathlib import Path
from typing import Any

import pandas as pd

from tests.support.servers import ROOT

DESCRIPTION = ROOT / "data" / "cdc_brfss.toml"
STRATUM = ["StratificationCategory1", "Stratification1"]


class Oracle:
    """One CDC table in a data frame."""

    def __init__(self, path: Path) -> None:
        frame = pd.read_csv(path, low_memory=False)
        self.frame = frame[frame["Data_Value"].notna()]
        self.states = sorted(frame["LocationDesc"].unique())
        self.questions = sorted(frame["Question"].unique())
        description = tomllib.loads(DESCRIPTION.read_text())
        self.better_low = set(description["questions"]["better_low"])

    def answer(self, statistic: str, question: str, state: str | None = None) -> Any:
        """What `/api/<statistic>` should answer."""
        rows = self.frame[self.frame["Question"] == question]
        overall = rows["Data_Value"].mean()
        means = rows.groupby("LocationDesc")["Data_Value"].mean().sort_values(kind="stable")
        best = means if question in self.better_low else means[::-1]
        match statistic:
            case "states_mean":
                return dict(means)
            case "state_mean":
                return {state: means.get(state)}
            case "best5":
                return dict(best[:5])
            case "worst5":
                return dict(best[::-1][:5])
            case "global_mean":
                return {"global_mean": overall}
            case "diff_from_mean":
                return dict(overall - means)
            case "state_diff_from_mean":
                return {state: overall - means[state] if state in means else None}
            case "mean_by_category":
                groups = rows.groupby(["LocationDesc", *STRATUM])["Data_Value"].mean()
                return {str(key): mean for key, mean in groups.items()}
            case "state_mean_by_category":
                mine = rows[rows["LocationDesc"] == state]
                groups = mine.groupby(STRATUM)["Data_Value"].mean()
                return {state: {str(key): mean for key, mean in groups.items()}}
        raise ValueError(statistic)
