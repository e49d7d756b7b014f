/**
 * The batch script of a study: an array of tasks that share the runs of one study. `choir study --join` takes runs that
 * no other task has taken, so tasks may start and end at any time.
 *
 *     #SBATCH --array=0-7
 *     #SBATCH --cpus-per-task=4
 *     ...
 *     /usr/bin/node /opt/choir/bin/choir.js study m6t --out studies/m6t --join --jobs 1 --threads 4
 */
import { commandLine } from '../../core/text/shell.ts'
import { asksForGpus, type SlurmSettings, sbatchScript } from './sbatch.ts'

export interface SlurmStudy extends SlurmSettings {
  readonly name: string
  readonly folder: string
  readonly tasks: number
  /** Number of trainings that a task runs at a time. */
  readonly jobs: number
  /** Threads of a training. */
  readonly threads: number
  readonly program: readonly string[]
  /** Arguments of `study`, such as `['m6t', '--out', 'studies/m6t']`. */
  readonly study: readonly string[]
  readonly restarts: number
  /** Whether trainings compute on a GPU. The trainings of a task share one. */
  readonly gpus?: boolean
}

export function slurmStudy(study: SlurmStudy): string {
  const { tasks, jobs, threads, program } = study
  const gpus = study.gpus && !asksForGpus(study) ? ['--gpus=1'] : []
  return sbatchScript({
    ...study,
    options: [`--array=0-${tasks - 1}`, '--nodes=1', '--ntasks=1', `--cpus-per-task=${jobs * threads}`, ...gpus],
    log: '%A_%a',
    before: [],
    command: commandLine([
      ...program,
      'study',
      ...study.study,
      '--join',
      ...['--jobs', String(jobs)],
      ...['--threads', String(threads)],
    ]),
    // SIGTERM acts like Ctrl-C: running trainings are saved.
    stopSignal: 'TERM',
  })
}
