"""The way from any file to arrays: sources, decoding, the manifest and the HDF5 store."""
