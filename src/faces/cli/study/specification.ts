/** The study that `choir study` is asked for: a built-in one or a file, with the settings and seeds of its options. */
import { suggestion } from '../../../core/config/problems.ts'
import { UsageError } from '../../../core/errors.ts'
import { isYamlPath } from '../../../node/run/read-yaml.ts'
import { noArms } from '../../../tools/study/grid/arms.ts'
import {
  builtinStudies,
  forSearch,
  readBuiltin,
  readSpecification,
  studySizes,
  withAssignments,
  withoutSearch,
} from '../../../tools/study/grid/read-specification.ts'
import type { Specification } from '../../../tools/study/specification.ts'
import { type Device, dataSets, type EngineFlags } from '../options.ts'

/** Options that define the study. */
export interface SpecificationFlags {
  readonly preset?: string
  readonly data?: readonly string[]
  readonly set?: readonly string[]
  readonly seeds?: number
  readonly device?: Device
  readonly math?: EngineFlags['math']
  readonly search?: true
}

/** @throws UsageError if there is no such study, or a setting is wrong */
export async function loadSpecification(study: string, flags: SpecificationFlags): Promise<Specification> {
  const { preset, seeds, search = false } = flags
  const given = await baseSpecification(study, preset)
  if (!search && Object.keys({ ...given.arms, ...given.grid }).length === 0) throw noArms(`invalid study ${study}`)
  const specification = withAssignments(search ? forSearch(given) : withoutSearch(given), assignments(flags))
  if (seeds === undefined) return specification
  if (search)
    throw new UsageError('invalid --seeds: a search trains with one seed, the first of the study (leave it out)')
  if (seeds > specification.seeds.length)
    throw new UsageError(
      `invalid --seeds: ${seeds} (the study has ${specification.seeds.length}: ${specification.seeds.join(', ')})`,
    )
  return { ...specification, seeds: specification.seeds.slice(0, seeds) }
}

export const isBuiltin = (study: string): boolean => Object.hasOwn(builtinStudies, study)

/** The name of a study in its report. */
export const studyName = (study: string, { preset = 'quick' }: SpecificationFlags): string =>
  isBuiltin(study) ? `${study}, ${preset}` : study

async function baseSpecification(study: string, preset: string | undefined): Promise<Specification> {
  const [names, sizes] = [Object.keys(builtinStudies), Object.keys(studySizes)]
  if (isBuiltin(study)) {
    const size = preset ?? 'quick'
    if (!sizes.includes(size))
      throw new UsageError(`invalid --preset: "${size}" (expected ${sizes.join(' or ')}${suggestion(size, sizes)})`)
    return readBuiltin(study, size)
  }
  if (!isYamlPath(study))
    throw new UsageError(
      `unknown study "${study}" (expected ${names.join(', ')}, or a YAML file${suggestion(study, names)})`,
    )
  if (preset !== undefined)
    throw new UsageError(`invalid --preset: only ${names.join(' and ')} have presets, not a file`)
  return readSpecification(study)
}

function assignments({ set = [], data, device, math }: SpecificationFlags): string[] {
  return [
    ...set,
    ...dataSets(data, set),
    ...(device === undefined ? [] : [`runtime.device=${device}`]),
    ...(math === undefined ? [] : [`runtime.math=${math}`]),
  ]
}

/** The words of a command that name the study, with the options that define it. */
export function studyWords(study: string, flags: SpecificationFlags): string[] {
  const { preset, data = [], set = [], seeds, device, math, search } = flags
  return [
    study,
    ...(preset === undefined ? [] : ['--preset', preset]),
    ...data.flatMap((source) => ['--data', source]),
    ...set.flatMap((assignment) => ['--set', assignment]),
    ...(seeds === undefined ? [] : ['--seeds', String(seeds)]),
    ...(device === undefined ? [] : ['--device', device]),
    ...(math === undefined ? [] : ['--math', math]),
    ...(search ? ['--search'] : []),
  ]
}
