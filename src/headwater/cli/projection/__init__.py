"""The commands of `headwater projection`."""
