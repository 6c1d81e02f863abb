"""Model versions: made of jobs that succeeded, proved before anyone may use them."""
