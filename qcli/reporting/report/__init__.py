"""`qcli report`: what happened in runs, as one page that needs nothing else, and as figures."""
