/**
 * The command of each rank. The first start and a continuation differ, since a run continues with its own
 * configuration; scripts that are run again choose between them by whether the run has a configuration on disk.
 *
 *     // choir launch train my-run.yaml --set train.steps=500 --threads 4, in the folder /home/me
 *     {
 *       program: ['/usr/bin/node', '/opt/choir/bin/choir.js'],
 *       directory: 'runs/my-run',
 *       start: ['my-run.yaml', '--out', 'runs/my-run', '--set', 'train.steps=500'],
 *       resume: ['--resume', 'runs/my-run'],
 *       options: ['--threads', '4'],
 *     }
 */
import { commandLine } from '../../core/text/shell.ts'

export interface RankProgram {
  /** Node and the program as absolute paths, since ranks on other hosts have another PATH. */
  readonly program: readonly string[]
  /** The run directory. */
  readonly directory: string
  /** Arguments of `train` that begin the run. */
  readonly start: readonly string[]
  /** Arguments of `train` that continue the run. */
  readonly resume: readonly string[]
  /** Arguments of `train` in both cases. */
  readonly options: readonly string[]
}

/** The words of a rank's command. */
export function rankWords({ program, start, resume, options }: RankProgram, continued: boolean): string[] {
  return [...program, 'train', ...(continued ? resume : start), ...options]
}

/** Lines of bash that set `$@` to the arguments that begin or continue the run, and the command that uses them. */
export function startOrResume({ program, directory, start, resume, options }: RankProgram): {
  choose: string[]
  command: string
} {
  const begins = commandLine(start) === commandLine(resume)
  const config = commandLine([`${directory}/config.json`])
  return {
    choose: begins
      ? [`set -- ${commandLine(start)}`]
      : [
          '# A run that exists is continued from its newest checkpoint.',
          `if [ -e ${config} ]; then`,
          `  set -- ${commandLine(resume)}`,
          'else',
          `  set -- ${commandLine(start)}`,
          'fi',
        ],
    command: `${commandLine([...program, 'train'])} "$@" ${commandLine(options)}`,
  }
}
