"""What qcli writes for authors: packages of plugins, and starts of recipes."""
