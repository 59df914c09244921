"""Tables as files."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from eemt.raster import whole_or_nothing


def write_table(table: pd.DataFrame, csv: Path, parquet: Path) -> None:
    """Write the same table as CSV, with six digits, and as Parquet."""
    with whole_or_nothing(csv) as partial:
        table.to_csv(partial, index=False, float_format="%.6g")
    with whole_or_nothing(parquet) as partial:
        table.to_parquet(partial, index=False)
