"""A family: where weights come from. `base` says what a source and a fetcher are, `registry` names the fetchers, one file each."""
