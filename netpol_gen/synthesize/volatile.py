"""Label keys that do not survive; the list itself is `netpol_gen.labels`, which judging reads as well."""

from netpol_gen.labels import per_instance, per_release, volatile

__all__ = ["per_instance", "per_release", "volatile"]
