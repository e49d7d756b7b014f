/**
 * The batch script of a training. Slurm starts the ranks with `srun`, or allocates hosts on which `mpirun` does.
 *
 *     // 2 nodes of 4 ranks of 8 threads
 *     #SBATCH --nodes=2
 *     #SBATCH --ntasks-per-node=4
 *     #SBATCH --cpus-per-task=8
 *     ...
 *     srun --mpi=pmix --cpus-per-task=8 --kill-on-bad-exit=1 /usr/bin/node /opt/choir/bin/choir.js train "$@" --threads 8
 */
import { commandLine } from '../../core/text/shell.ts'
import type { Layout } from './layout.ts'
import { type MpiLibrary, mpirunWords } from './mpirun.ts'
import { type RankProgram, startOrResume } from './program.ts'
import { asksForGpus, type SlurmSettings, sbatchScript } from './sbatch.ts'

export interface SlurmTraining extends SlurmSettings {
  readonly name: string
  readonly folder: string
  readonly nodes: number
  readonly layout: Layout
  readonly program: RankProgram
  readonly library: MpiLibrary
  readonly launcher: 'srun' | 'mpirun'
  readonly restarts: number
  /** Whether each rank computes on a GPU of its own. */
  readonly gpus?: boolean
  /** Names of variables that all ranks need. */
  readonly variables: readonly string[]
}

export function slurmTraining(training: SlurmTraining): string {
  const { nodes, layout, program, library, launcher, variables } = training
  const gpus = training.gpus ? gpuOptions(training) : []
  const { ranksPerHost, threads } = layout
  const { choose, command } = startOrResume(program)
  const words =
    launcher === 'mpirun'
      ? mpirunWords(layout, { library, mpirun: 'mpirun', variables })
      : [
          'srun',
          // Open MPI 5 supports no other interface; MPICH is usually built with PMI.
          `--mpi=${library === 'openmpi' ? 'pmix' : 'pmi2'}`,
          // srun does not take this option from sbatch.
          `--cpus-per-task=${threads}`,
          ...gpus,
          '--kill-on-bad-exit=1',
        ]
  return sbatchScript({
    ...training,
    options: [`--nodes=${nodes}`, `--ntasks-per-node=${ranksPerHost}`, `--cpus-per-task=${threads}`, ...gpus],
    log: '%j',
    before: choose,
    command: `${commandLine(words)} ${command}`,
    stopSignal: 'USR1',
    directory: program.directory,
  })
}

/**
 * Options for a GPU for each rank, of sbatch and srun. Slurm shows a task only its own GPU if it starts the task; mpirun
 * starts one task on a node, which gets the GPUs of its ranks. Nothing is added to GPUs that the user asks for.
 */
const gpuOptions = (training: SlurmTraining): string[] => {
  if (asksForGpus(training)) return []
  return [training.launcher === 'srun' ? '--gpus-per-task=1' : `--gpus-per-node=${training.layout.ranksPerHost}`]
}
