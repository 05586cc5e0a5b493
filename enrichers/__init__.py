"""Enrichment of a resource: decisions that take values and return values; the catalog's file is the only I/O here.

An `Enricher` looks at one parsed OTLP `Resource`, which it may change in place, and at who sent it. It returns the
resource's place (`Placement`), a `Rejection` of all items under the resource, or None for "no opinion".
"""
