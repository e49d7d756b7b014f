/** The training that `choir train` is asked for: its configuration, its directory, and the run that it begins with. */
import { existsSync } from 'node:fs'
import { readdir } from 'node:fs/promises'
import { basename, dirname, extname, join, resolve } from 'node:path'
import { isPreset } from '../../core/config/presets.ts'
import type { RunConfig } from '../../core/config/run-config.ts'
import { UsageError } from '../../core/errors.ts'
import { quoted } from '../../core/text/shell.ts'
import { loadConfig, loadRunConfig } from '../../node/run/load-config.ts'
import { loadConfigFrom } from '../../node/run/load-config-from.ts'
import type { WeightsOf } from '../../node/run/weights-source.ts'
import { dataSets, type EngineFlags, engineSets, freezeSets } from './options.ts'

/** Options that define the training. */
export interface JobFlags extends EngineFlags {
  readonly data?: readonly string[]
  readonly set?: readonly string[]
  readonly freeze?: readonly string[]
  readonly out?: string
  readonly resume?: string
  readonly from?: string
  readonly fork?: string
  readonly checkpoint?: number
  readonly steps?: number
}

/** A training to start or to continue. */
export interface Job {
  readonly name: string
  readonly preset?: string
  readonly config: RunConfig
  readonly directory: string
  readonly resume: boolean
  /** Step to continue from with `resume`; undefined for the newest checkpoint. */
  readonly checkpoint?: number | undefined
  /** Whether the program has chosen the directory, since the user named none. */
  readonly isUnnamed?: boolean
  readonly from?: WeightsOf
}

/** Name and configuration of a run that is started, continued, or begun with the weights of another run. */
type JobConfig = Pick<Job, 'name' | 'config' | 'preset'>

/**
 * @param source A preset or a file. Default: the configuration of the run that is continued or that the new run begins
 * with; without such a run, demo.
 * @throws UsageError if options contradict each other, or there is no such configuration or run
 */
export async function jobConfig(source: string | undefined, flags: JobFlags): Promise<JobConfig> {
  const { resume, from, fork, out } = flags
  const sets = [
    ...(flags.set ?? []),
    ...dataSets(flags.data, flags.set),
    ...freezeSets(flags.freeze),
    ...engineSets(flags),
    ...(flags.steps === undefined ? [] : [`train.steps=${flags.steps}`]),
  ]
  if (flags.checkpoint !== undefined && resume === undefined && from === undefined && fork === undefined)
    throw new UsageError('invalid --checkpoint: only with --resume, --from or --fork (which run is it of?)')
  if (from !== undefined && fork !== undefined)
    throw new UsageError(
      'invalid --fork: not with --from (--fork continues a training, --from begins a new one with its weights)',
    )
  if (resume !== undefined) {
    if (source !== undefined || out !== undefined || from !== undefined || fork !== undefined)
      throw new UsageError(
        'invalid --resume: a run continues with its own configuration, weights and directory (leave out CONFIG, --from, ' +
          `--fork and --out; to begin another run with its weights: --from ${quoted(resume)}, with its whole state: --fork)`,
      )
    return { name: nameOf(resume), config: await loadRunConfig(resume, sets) }
  }
  if (fork !== undefined)
    return { name: nameOf(source ?? fork), config: await loadConfigFrom(fork, source, sets, 'fork') }
  if (from !== undefined) return { name: nameOf(source ?? from), config: await loadConfigFrom(from, source, sets) }
  const chosen = source ?? 'demo'
  const config = await loadConfig(chosen, sets)
  return { name: nameOf(chosen), config, ...(isPreset(chosen) ? { preset: chosen } : {}) }
}

export async function prepareJob(source: string | undefined, flags: JobFlags): Promise<Job> {
  const { resume, from, fork, out, checkpoint } = flags
  const job = await jobConfig(source, flags)
  if (resume !== undefined) return { ...job, directory: resume, resume: true, checkpoint }
  if (out !== undefined && existsSync(join(out, 'config.json')))
    throw new UsageError(
      `invalid --out: "${out}" already holds a run (continue it with --resume ${quoted(out)}, or choose another)`,
    )
  const directory = out ?? freeDirectory(job.name)
  const isUnnamed = out === undefined
  const run = fork ?? from
  const begin = run !== undefined && { from: { run, checkpoint, fork: fork !== undefined } }
  return { ...job, directory, resume: false, isUnnamed, ...begin }
}

/** Name of a run or of a file: `demo` for `runs/demo` and for `demo.yaml`. */
const nameOf = (path: string): string => basename(resolve(path), extname(path))

/** Whether the folder around a run directory has no other run. */
export async function isFirstRun(directory: string): Promise<boolean> {
  const folder = dirname(resolve(directory))
  const names = await readdir(folder).catch((): string[] => [])
  return !names.some((name) => name !== basename(directory) && existsSync(join(folder, name, 'config.json')))
}

/** The first of runs/demo, runs/demo-2, runs/demo-3, ... that does not exist. */
export function freeDirectory(name: string): string {
  const first = join('runs', name)
  let directory = first
  for (let i = 2; existsSync(directory); i++) directory = `${first}-${i}`
  return directory
}
