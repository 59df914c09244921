#!/bin/sh
# Take out of an environment what no run needs: the libraries' own tests, headers, symbols for debuggers, tools that
# only build, and parts that are never loaded. Each line says what it spares, measured on amd64.
set -eu
environment=$1
export PYTHONDONTWRITEBYTECODE=1
"$environment/bin/python" -m pip --disable-pip-version-check uninstall --quiet --yes \
  hatchling editables trove-classifiers setuptools # 13 MB
cd "$environment"/lib/python3*/site-packages

find . -name __pycache__ -prune -exec rm -rf {} + # pip's own, 7 MB
find . -depth -type d -name tests -exec rm -rf {} + # 130 MB
# sources that the compiled modules were made of, and declarations for editors, 20 MB
rm -rf numpy/_core/include pyarrow/include pyarrow/src sqlalchemy/testing
find . -type f \( -name '*.pyx' -o -name '*.px[di]' -o -name '*.[ch]' -o -name '*.[ch]pp' -o -name '*.pyi' \) -delete

# Arrow's network transport, object stores, 40 MB: tables are Parquet files on a file system
rm -rf pyarrow/libarrow_flight* pyarrow/libarrow_python_flight* pyarrow/_flight* pyarrow/libarrow_s3* pyarrow/_s3fs*

# the solver of Snakemake's other scheduler, 35 MB: all profiles take the greedy one, as Snakemake does without a solver
rm -rf pulp/solverdir/cbc
find pvlib/data -type f ! -name LinkeTurbidities.h5 -delete # solar panels, weather of single stations, 17 MB
rm -f PIL/_avif* pillow.libs/libavif* # a format of images that nothing here is in, 5 MB
rm -rf matplotlib/mpl-data/sample_data matplotlib/mpl-data/fonts/afm matplotlib/mpl-data/fonts/pdfcorefonts # 2 MB

# The table of coordinate systems comes with each of three libraries. That of rasterio serves the one which only reads
# polygons too, 10 MB; positions, of which bits count, are computed with rasterio's and pyproj's own.
ln -sf ../../rasterio/proj_data/proj.db pyogrio/proj_data/proj.db

# three copies of one library, of which the loader asks for the second, 3 MB
rm -f pyarrow/libarrow_python.so pyarrow/libarrow_python.so.*.*.* pyarrow/libarrow_python_parquet_encryption.so \
  pyarrow/libarrow_python_parquet_encryption.so.*.*.*
# and what two wheels brought alike, 3 MB
for library in numpy.libs/*; do
  same=scipy.libs/${library#*/}
  ! cmp -s "$library" "$same" || ln -sf "../$library" "$same"
done

# Symbols for debuggers, 110 MB. A library that was edited after it was linked may not bear it: ldd, which loads
# what it looks at, tells.
find . -type f \( -name '*.so' -o -name '*.so.*' \) | while read -r library; do
  strip --strip-unneeded -o "$library.thin" "$library"
  if ldd "$library.thin" > /dev/null 2>&1; then
    mv "$library.thin" "$library"
  else
    rm "$library.thin"
  fi
done

# what was taken away must not be missed
"$environment/bin/python" -c 'import exactextract, geopandas, h5netcdf, matplotlib.pyplot, numba, pandas, PIL.Image, pulp
import pyarrow.parquet, pvlib, pyogrio, pystac, rasterio, rocrate, SALib, scipy.interpolate, scipy.stats, whitebox_workflows, zarr
geopandas.GeoDataFrame(geometry=[], crs="EPSG:32613").to_file("/vsimem/none.fgb", engine="pyogrio")'
"$environment/bin/python" -m pip --disable-pip-version-check check
