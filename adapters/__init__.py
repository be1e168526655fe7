"""Methods of adaptation and the variants they make; a plain file name is a `--method`."""
