"""What qcli is compared with: methods as people write them, in plain PyTorch."""
