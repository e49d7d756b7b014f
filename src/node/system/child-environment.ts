/**
 * The environment of child processes. A launcher (`mpirun`, `srun`) gives every rank its place in variables, which
 * children inherit: one that loads MPI, or is Choir itself, would take itself for the rank that started it.
 */

/** Open MPI with its runtimes, MPICH with its launcher, PMI in all versions, Slurm. */
const OF_LAUNCHERS = /^(OMPI|PMIX|PRTE|PMI2?|HYDRA|HYDI|MPI|MPIR|MPICH|SLURM|SLURMD)_/

/** The variables of a process without those of launchers, for children that are not ranks. */
export function childEnvironment(env: NodeJS.ProcessEnv = process.env): NodeJS.ProcessEnv {
  return Object.fromEntries(Object.entries(env).filter(([name]) => !OF_LAUNCHERS.test(name)))
}
