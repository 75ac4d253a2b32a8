"""What `qcli doctor` looks at: each check runs in a process of its own."""
