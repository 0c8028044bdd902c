"""The paths of observations and commands between vendors, store and broker."""
