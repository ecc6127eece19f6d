"""The real controller over several clusters on virtual time: clusters come and go, and what must hold all the same."""
