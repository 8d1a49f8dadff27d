"""The backend over mpi4py, checked by programs that mpiexec starts."""
