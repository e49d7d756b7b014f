/** The training that is launched: the settings that its launch needs, and the arguments of its ranks. */
import { existsSync } from 'node:fs'
import { join } from 'node:path'
import type { RunConfig } from '../../../core/config/run-config.ts'
import { UsageError } from '../../../core/errors.ts'
import { quoted } from '../../../core/text/shell.ts'
import { checkpointsOf } from '../../../node/run/run-directory.ts'
import { refuseLaterStep } from '../../../node/run/steps-left.ts'
import { forRanks } from '../../../node/train/layout.ts'
import type { Parallel } from '../../../tools/launch/layout.ts'
import { jobConfig } from '../train-job.ts'
import type { LaunchFlags } from './flags.ts'

export interface LaunchedRun {
  readonly name: string
  readonly config: RunConfig
  readonly parallel: Parallel
  /** The setting `runtime.threads`; undefined if the configuration does not set it. */
  readonly threads: number | undefined
  /** The setting `train.steps`. */
  readonly steps: number
  /** Whether each rank computes on a GPU (`runtime.device`). */
  readonly gpus: boolean
}

/** @throws UsageError if there is no such configuration or run, or a field is wrong */
export async function loadLaunchedRun(source: string | undefined, flags: LaunchFlags): Promise<LaunchedRun> {
  if (source === undefined && [flags.resume, flags.from, flags.fork].every((run) => run === undefined))
    throw new UsageError("missing argument 'config' (a preset, or a YAML or JSON file)")
  const { name, config } = await jobConfig(source, flags)
  if (flags.out !== undefined && existsSync(join(flags.out, 'config.json')))
    throw new UsageError(
      `invalid --out: "${flags.out}" already holds a run (continue it with --resume ${quoted(flags.out)}, or choose another)`,
    )
  const { resume, checkpoint } = flags
  if (resume !== undefined && checkpoint !== undefined && flags.slurm)
    throw new UsageError(
      'invalid --checkpoint: not with --resume and --slurm, since a job that returns to the queue would go back again ' +
        `(begin another run: --fork ${quoted(resume)} --checkpoint ${checkpoint}; or go back before: choir train ` +
        `--resume ${quoted(resume)} --checkpoint ${checkpoint}, stopped with Ctrl-C after a step, and leave out --checkpoint)`,
    )
  if (resume !== undefined) await refuseLaterStep(resume, checkpointsOf(resume), checkpoint, config)
  return { name, config, ...settings(config) }
}

/**
 * Checks that a training fits so many ranks, as the ranks would after they have waited in a queue.
 * @throws UsageError if the batch, the experts or the shards do not fit
 */
export function expectRanks({ config }: LaunchedRun, ranks: number, { resume }: LaunchFlags): void {
  if (ranks > 1) forRanks(config, { rank: 0, size: ranks }, resume !== undefined)
}

/** Arguments of `train` that begin the run, arguments that continue it, and options for both cases. */
export function trainArguments(source: string | undefined, directory: string, threads: number, flags: LaunchFlags) {
  const sets = [
    ...(flags.data ?? []).flatMap((text) => ['--data', text]),
    ...(flags.set ?? []).flatMap((assignment) => ['--set', assignment]),
    ...(flags.freeze ?? []).flatMap((pattern) => ['--freeze', pattern]),
    ...(flags.steps === undefined ? [] : ['--steps', String(flags.steps)]),
  ]
  const from = [
    ...(flags.from === undefined ? [] : ['--from', flags.from]),
    ...(flags.fork === undefined ? [] : ['--fork', flags.fork]),
  ]
  const checkpoint = flags.checkpoint === undefined ? [] : ['--checkpoint', String(flags.checkpoint)]
  const config = source === undefined ? [] : [source]
  const engine = [
    ...(flags.device === undefined ? [] : ['--device', flags.device]),
    ...(flags.math === undefined ? [] : ['--math', flags.math]),
  ]
  const resume = ['--resume', directory]
  const begin = flags.resume === undefined ? [...config, '--out', directory, ...from] : resume
  return {
    start: [...begin, ...checkpoint, ...sets, ...engine],
    // A run that this launch begins has stored the assignments in its configuration when it is continued.
    resume: flags.resume === undefined ? resume : [...resume, ...sets, ...engine],
    options: [
      ...['--threads', String(threads)],
      ...(flags.json ? ['--json'] : []),
      ...(flags.profile ? ['--profile'] : []),
      ...(flags.trace === undefined ? [] : ['--trace', flags.trace]),
      ...(flags.logTo === undefined ? [] : ['--log-to', flags.logTo]),
      ...(flags.sample ? [] : ['--no-sample']),
    ],
  }
}

const settings = ({ parallel: { expert, shards }, runtime, train }: RunConfig) => ({
  parallel: { expert, shards },
  threads: runtime.threads,
  steps: train.steps,
  gpus: runtime.device === 'webgpu',
})
