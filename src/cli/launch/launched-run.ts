/** The training that is launched: what its ranks need to know, and their arguments. */
import { existsSync } from 'node:fs'
import { readFile } from 'node:fs/promises'
import { basename, extname, join } from 'node:path'
import { type Fields, isFields } from '../../config/fields.ts'
import { isPreset, presets } from '../../config/presets.ts'
import { formatValue, parseInput } from '../../config/problems.ts'
import { type RunConfig, runSchema } from '../../config/run-config.ts'
import { UsageError } from '../../errors.ts'
import type { Parallel } from '../../launch/layout.ts'
import { loadRunConfig, parseSet, readFields } from '../../run/load-config.ts'
import { quoted } from '../../text/shell.ts'
import { engineSets } from '../options.ts'
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
  const sets = [...(flags.set ?? []), ...engineSets(flags)]
  if (resume !== undefined) {
    if (source !== undefined || flags.out !== undefined)
      throw new UsageError(
        'invalid --resume: a run continues with its own configuration and directory (leave out CONFIG and --out)',
      )
    const config = await loadRunConfig(resume, sets.filter(isKnown))
    const stored: unknown = JSON.parse(await readFile(join(resume, 'config.json'), 'utf8'))
    const fields = isFields(stored) ? stored : {}
    return { name: basename(resume), ...settings(config, isFields(fields.config) ? fields.config : fields, sets) }
  }
  if (source === undefined) throw new UsageError("missing argument 'config' (a preset, or a YAML or JSON file)")
  // The folder of a pod is not here; there a run that exists is continued.
  if (!flags.kubernetes && flags.out !== undefined && existsSync(join(flags.out, 'config.json')))
    throw new UsageError(
      `invalid --out: "${flags.out}" already holds a run (continue it with --resume ${quoted(flags.out)}, or choose another)`,
    )
  const fields = await readFields(source, sets, presets)
  const config = parseInput(runSchema, known(fields), 'configuration')
  return {
    name: basename(source, extname(source)),
    ...settings(config, fields, []),
    ...(!isPreset(source) && { file: source }),
  }
}

/** Arguments of `train` that begin and continue the run, and those that it has in both cases. */
export function trainArguments(source: string | undefined, directory: string, threads: number, flags: LaunchFlags) {
  const sets = (flags.set ?? []).flatMap((assignment) => ['--set', assignment])
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

// Without a section `parallel` in the schema, or without the field, a group has one rank.
const hasParallel = 'parallel' in runSchema.shape
const isKnown = (set: string): boolean => hasParallel || !set.startsWith('parallel.')

function known(fields: Fields): Fields {
  const { parallel: _, ...rest } = fields
  return hasParallel ? fields : rest
}

/** @param sets assignments that are not yet in the fields */
function settings(config: RunConfig, { parallel }: Fields, sets: readonly string[]) {
  const assigned = sets.map(parseSet).findLast(([path]) => path.join('.') === 'parallel.expert')?.[1]
  const expert = assigned ?? (isFields(parallel) ? (parallel.expert ?? 1) : 1)
  if (typeof expert !== 'number' || !Number.isSafeInteger(expert) || expert < 1)
    throw new UsageError(`invalid parallel.expert: ${formatValue(expert)} (expected a positive integer)`)
  return { parallel: { expert, experts: config.model.moe?.experts ?? null }, threads: config.runtime.threads }
}
