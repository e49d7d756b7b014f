/**
 * The environment of child processes. A launcher (`mpirun`, `srun`) gives every rank its place in variables, which
 * children inherit. A child that loads MPI, or is Choir itself, would take itself for the rank that started it.
 */

/** Variables of Open MPI and its runtimes, of MPICH and its launcher, of PMI in all versions, and of Slurm. */
const OF_LAUNCHERS = /^(OMPI|PMIX|PRTE|PMI2?|HYDRA|HYDI|MPI|MPIR|MPICH|SLURM|SLURMD)_/

/** The variables of a process without the variables of launchers, for children that are not ranks. */
export function childEnvironment(env: NodeJS.ProcessEnv = process.env): NodeJS.ProcessEnv {
  return Object.fromEntries(Object.entries(env).filter(([name]) => !OF_LAUNCHERS.test(name)))
}
