#!/bin/sh
# Take out of an environment what no run needs: the libraries' own tests, headers, symbols for debuggers, tools that
# only build, and parts that are never loaded. Each line says what it spares, measured on amd64.
set -eu
environment=$1
"$environment/bin/python" -m pip --disable-pip-version-check uninstall --quiet --yes \
  hatchling editables trove-classifiers setuptools # 13 MB
cd "$environment"/lib/python3*/site-packages

# 120 MB; the many small libraries keep theirs
for library in numba numpy pandas pyarrow scipy matplotlib h5py pvlib xarray fontTools rasterio sqlalchemy; do
  find "$library" -depth -type d -name tests -exec rm -rf {} +
done
# sources that the compiled modules were made of, 17 MB
rm -rf numpy/_core/include pyarrow/include pyarrow/src sqlalchemy/testing
find . -type f \( -name '*.pyx' -o -name '*.px[di]' -o -name '*.[ch]' -o -name '*.[ch]pp' \) -delete

# Arrow's network transport, object stores, 40 MB: tables are Parquet files on a file system
rm -rf pyarrow/libarrow_flight* pyarrow/libarrow_python_flight* pyarrow/_flight* pyarrow/libarrow_s3* pyarrow/_s3fs*

# the solver of Snakemake's other scheduler, for the machines that this is not, 28 MB
for solver in pulp/solverdir/cbc/*/*; do
  case "$solver:$(uname -m)" in
    */linux/i64:x86_64 | */linux/arm64:aarch64) ;;
    *) rm -rf "$solver" ;;
  esac
done
find pvlib/data -type f ! -name LinkeTurbidities.h5 -delete # solar panels, weather of single stations, 17 MB

# three copies of one library, of which the loader asks for the second, 3 MB
rm -f pyarrow/libarrow_python.so pyarrow/libarrow_python.so.*.*.* pyarrow/libarrow_python_parquet_encryption.so \
  pyarrow/libarrow_python_parquet_encryption.so.*.*.*

# Symbols for debuggers, 100 MB. A library that was edited after it was linked may not bear it: ldd, which loads
# what it looks at, tells. What auditwheel put into the folders *.libs has few of them.
find . -name '*.libs' -prune -o -type f \( -name '*.so' -o -name '*.so.*' \) -print | while read -r library; do
  strip --strip-unneeded -o "$library.thin" "$library"
  if ldd "$library.thin" > /dev/null 2>&1; then
    mv "$library.thin" "$library"
  else
    rm "$library.thin"
  fi
done

# what was taken away must not be missed
"$environment/bin/python" -c 'import numba, pandas, pulp, pyarrow.parquet, pvlib, rasterio, scipy.interpolate, whitebox_workflows'
"$environment/bin/python" -m pip --disable-pip-version-check check
