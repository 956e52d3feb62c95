"""A local, read-only web page of a data set: filter, watch, and count its clips."""
