/** The training that is launched: what its ranks need to know, and their arguments. */
import { existsSync } from 'node:fs'
import { basename, extname, join } from 'node:path'
import { isPreset } from '../../config/presets.ts'
import type { RunConfig } from '../../config/run-config.ts'
import { UsageError } from '../../errors.ts'
import type { Parallel } from '../../launch/layout.ts'
import { loadConfig, loadRunConfig } from '../../run/load-config.ts'
import { quoted } from '../../text/shell.ts'
import { dataSets, engineSets } from '../options.ts'
import type { LaunchFlags } from './flags.ts'

export interface LaunchedRun {
  readonly name: string
  readonly parallel: Parallel
  /** `runtime.threads`; undefined if the configuration leaves it open. */
  readonly threads: number | undefined
  /** Path of the configuration, if it is a file. */
  readonly file?: string
}

/** @throws UsageError if there is no such configuration or run, or a field is wrong */
export async function loadLaunchedRun(source: string | undefined, flags: LaunchFlags): Promise<LaunchedRun> {
  const { resume } = flags
  const sets = [...(flags.set ?? []), ...dataSets(flags.data, flags.set), ...engineSets(flags)]
  if (resume !== undefined) {
    if (source !== undefined || flags.out !== undefined || flags.data !== undefined)
      throw new UsageError(
        'invalid --resume: a run continues with its own configuration, text and directory (leave out CONFIG, --data and --out)',
      )
    return { name: basename(resume), ...settings(await loadRunConfig(resume, sets)) }
  }
  if (source === undefined) throw new UsageError("missing argument 'config' (a preset, or a YAML or JSON file)")
  // The folder of a pod is not here; there a run that exists is continued.
  if (!flags.kubernetes && flags.out !== undefined && existsSync(join(flags.out, 'config.json')))
    throw new UsageError(
      `invalid --out: "${flags.out}" already holds a run (continue it with --resume ${quoted(flags.out)}, or choose another)`,
    )
  const config = await loadConfig(source, sets)
  return {
    name: basename(source, extname(source)),
    ...settings(config),
    ...(!isPreset(source) && { file: source }),
  }
}

/** Arguments of `train` that begin and continue the run, and those that it has in both cases. */
export function trainArguments(source: string | undefined, directory: string, threads: number, flags: LaunchFlags) {
  const sets = [
    ...(flags.data ?? []).flatMap((text) => ['--data', text]),
    ...(flags.set ?? []).flatMap((assignment) => ['--set', assignment]),
  ]
  const math = flags.math === undefined ? [] : ['--math', flags.math]
  const resume = ['--resume', directory]
  return {
    start:
      flags.resume === undefined ? [source ?? '', '--out', directory, ...sets, ...math] : [...resume, ...sets, ...math],
    // The run has the assignments in its configuration.
    resume,
    options: [
      ...['--threads', String(threads)],
      ...(flags.json ? ['--json'] : []),
      ...(flags.profile ? ['--profile'] : []),
      ...(flags.trace === undefined ? [] : ['--trace', flags.trace]),
      ...(flags.sample ? [] : ['--no-sample']),
    ],
  }
}

const settings = ({ parallel: { expert, shards }, runtime }: RunConfig) => ({
  parallel: { expert, shards },
  threads: runtime.threads,
})
