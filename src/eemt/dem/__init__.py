"""Elevation: from any source, on disk or on a server, to the grid that the maps are on.

`datasets` knows how the pieces of published elevation models are named, `layout` where the maps' cells
lie, `remote` how to read from servers that fail, `mosaic` how pieces make one raster, `sea` which
absent pieces are sea, `voids` how holes are closed, `prepare` runs all of them window by window and
`provenance` keeps the record.
"""
