"""/models/{slug}: the page of one model."""
