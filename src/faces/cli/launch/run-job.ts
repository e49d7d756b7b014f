/**
 * Runs mpirun as a child process and supervises it. Ctrl-C, SIGTERM and SIGUSR1 reach only this process, which sends
 * SIGUSR1 to mpirun, which passes it on to the ranks. If Ctrl-C reached mpirun of Open MPI, it would kill the ranks
 * within half a second.
 */
import { existsSync } from 'node:fs'
import { stat } from 'node:fs/promises'
import { hostname } from 'node:os'
import { join } from 'node:path'
import { RunError, UsageError } from '../../../core/errors.ts'
import { checkpointSteps, newestFolder } from '../../../node/run/checkpoint/checkpoint.ts'
import { removeRankFiles } from '../../../node/run/ranks/files.ts'
import { checkpointsOf } from '../../../node/run/run-directory.ts'
import { findFailure } from '../../../tools/launch/failure.ts'
import type { Layout, Parallel } from '../../../tools/launch/layout.ts'
import {
  type MpiLibrary,
  type MpirunSettings,
  mpirunVariables,
  mpirunWords,
  pastable,
} from '../../../tools/launch/mpirun.ts'
import { type RankProgram, rankWords } from '../../../tools/launch/program.ts'
import { runWithRestarts } from '../../../tools/launch/restarts.ts'
import { Interrupted, type Io, interruptible, type Job } from '../io.ts'

export interface MpiJobSettings extends MpirunSettings {
  readonly layout: Layout
  readonly program: RankProgram
  readonly parallel: Parallel
  readonly restarts: number
  /** The setting `train.steps`: the last step of the run. */
  readonly steps: number
  /** Step of an earlier checkpoint from which the first attempt continues a run; undefined for the newest. */
  readonly checkpoint: number | undefined
  /** The command that continues the run, for messages. */
  readonly resumeCommand: string
}

/** Milliseconds between attempts: time for ranks on other hosts to end, and for a network to come back. */
const PAUSE_MS = 5000

/** The command line of mpirun, with the variables that it needs. */
export function mpiCommandLine(io: Io, { layout, program, ...settings }: MpiJobSettings): string {
  const words = [...mpirunWords(layout, settings), ...rankWords(program, false)]
  return pastable(mpirunVariables(settings.library, io.isRoot), words)
}

/**
 * Runs the training, and continues it after failures as often as `restarts` allows.
 * @throws RunError if the training failed; UsageError if the ranks refused their arguments; Interrupted if it was
 * stopped
 */
export async function runMpiJob(io: Io, settings: MpiJobSettings): Promise<void> {
  const { layout, program, parallel, restarts, steps, library, resumeCommand } = settings
  const { directory } = program
  const say = (message: string) => io.stderr.write(`choir: ${message}\n`)
  const variables = mpirunVariables(library, io.isRoot)
  const exists = () => existsSync(join(directory, 'config.json'))
  const checkpoint = async () => (await checkpointSteps(checkpointsOf(directory))).at(-1) ?? 0
  const wentBack = await goingBack(directory, settings.checkpoint)
  const begun = async () => exists() && (await wentBack())
  let job: Job | undefined

  const outcome = await interruptible(
    io,
    (signal) => {
      signal.addEventListener('abort', () => job?.signal('SIGUSR1'), { once: true })
      return runWithRestarts(
        layout,
        { restarts, parallel },
        {
          begun,
          finished: async () => !exists() || (await checkpoint()) >= steps,
          checkpoint,
          run: async (now, resume) => {
            await removeRankFiles(directory)
            const words = [...mpirunWords(now, settings), ...rankWords(program, resume)]
            say(`running ${pastable(variables, words)}`)
            job = io.startJob(words, variables)
            try {
              return await job.ended
            } finally {
              job = undefined
            }
          },
          findFailure: ({ text }) => findFailure(directory, text),
          unreachable: (hosts) => unreachable(io, library, hosts),
          pause: () => io.sleep(PAUSE_MS, signal),
          stopped: () => signal.aborted,
          report: say,
        },
      )
    },
    {
      onInterrupt: () => say('the ranks finish their step and save ... press Ctrl-C again to stop immediately'),
      beforeExit: () => job?.signal('SIGTERM'),
    },
  )
  const resumed = (await begun()) ? `; continue with: ${resumeCommand}` : ''
  if (outcome.kind === 'usage') throw new UsageError('the ranks refused their arguments (see above)')
  if (outcome.kind === 'failed') throw new RunError(`the training failed: ${outcome.failure}${resumed}`)
  if (outcome.kind === 'stopped') {
    say(`stopped${resumed}`)
    throw new Interrupted()
  }
}

/**
 * Returns a function that says whether the ranks have gone back to the checkpoint of a step: the newest checkpoint is not
 * where it was, since they rename later ones first. An attempt may fail before that.
 */
async function goingBack(directory: string, step: number | undefined): Promise<() => Promise<boolean>> {
  const folder = checkpointsOf(directory)
  const newest = step === undefined ? undefined : await newestFolder(folder)
  if (newest === undefined || (await checkpointSteps(folder)).at(-1) === step) return async () => true
  // Another checkpoint may have its name later.
  const identity = async () => (await stat(newest).catch(() => null))?.ino
  const before = await identity()
  return async () => (await identity()) !== before
}

/** Hosts that do not answer to the program with which mpirun starts ranks on hosts: ssh, or its replacement. */
async function unreachable(io: Io, library: MpiLibrary, hosts: readonly string[]): Promise<string[]> {
  const others = hosts.filter((host) => host !== 'localhost' && host !== hostname() && !host.startsWith('127.'))
  const agent = io.env[library === 'openmpi' ? 'PRTE_MCA_plm_ssh_agent' : 'HYDRA_LAUNCHER_EXEC']
  const words = agent ? agent.split(' ') : ['ssh', '-o', 'BatchMode=yes', '-o', 'ConnectTimeout=10']
  const answers = await Promise.all(others.map((host) => io.runProgram([...words, host, 'true'])))
  // Exit code 255 is an error of ssh itself. Without ssh it is unknown which hosts answer, and no host is left out.
  return others.filter((_, i) => answers[i]?.code === 255)
}
