"""Everything runnable: the three services, the ``wf`` command line and the standalone stack."""
