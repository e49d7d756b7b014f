/** Reads specifications from files, also those of the built-in studies, and changes them as the command line asks. */
import { fileURLToPath } from 'node:url'
import { option, UsageError, wording } from '../../../core/errors.ts'
import { packageFile } from '../../../core/package-file.ts'
import { readYaml } from '../../../node/run/read-yaml.ts'
import { parseSet } from '../../../node/run/set-option.ts'
import { CONFIG_BYTES, readText } from '../../../node/system/read-text.ts'
import { type ArmSpecification, type Specification, specificationSchema } from '../specification.ts'
import { besideFile } from './part-files.ts'
import { problemsOf } from './problems.ts'
import { flatten, isBelow, overlay } from './settings.ts'

/** The built-in studies, with their descriptions in the help text. Each is a file `studies/NAME-SIZE.yaml`. */
export const builtinStudies: Readonly<Record<string, string>> = {
  m6t: 'the questions of the M6-T paper',
  witnesses: 'published trends of other studies, tested here',
}

export const studySizes: Readonly<Record<string, string>> = {
  quick: 'a small model and few arms; 13 minutes on two cores',
  standard: 'a larger model, every arm, four seeds and a learning rate for each arm; takes a night',
}

export const readBuiltin = (name: string, size: string): Promise<Specification> =>
  readSpecification(fileURLToPath(packageFile(`studies/${name}-${size}.yaml`)))

/**
 * The specification of a file; files of the user's own parts are looked for beside it first.
 * @throws UsageError when the file cannot be read or is no specification; every problem is listed
 */
export async function readSpecification(file: string): Promise<Specification> {
  let text: string
  try {
    text = await readText(file, CONFIG_BYTES)
  } catch (error) {
    throw new UsageError(`cannot read study ${JSON.stringify(file)}: ${(error as Error).message}`)
  }
  const content = readYaml(text, file, 'cannot read study')
  const parsed = specificationSchema.safeParse(content)
  if (parsed.success) return besideFile(parsed.data, file)
  const problems = problemsOf(specificationSchema, parsed.error.issues, content)
  throw new UsageError(`invalid study ${file}:\n  ${problems.join('\n  ')}`)
}

/**
 * Adds settings of the command line (`path=value`) for all arms that do not set the field themselves.
 * @throws UsageError for a text that is not an assignment, or that sets a group to null although an arm sets its fields
 */
export function withAssignments(specification: Specification, sets: readonly string[]): Specification {
  const { arms, grid, timedOnly } = specification
  const fieldsOfArms = [
    ...Object.entries({ ...arms, ...timedOnly }).map(([name, arm]) => {
      const { match, ...settings }: ArmSpecification = arm ?? {}
      return { ...flatten(settings, `arm "${name}"`), ...(match?.by !== undefined && { [match.by]: null }) }
    }),
    flatten(grid, 'grid'),
  ].flatMap(Object.keys)
  let set = flatten(specification.set, 'set')
  for (const [keys, value] of sets.map(parseSet)) {
    const path = keys.join('.')
    const field = fieldsOfArms.find((other) => isBelow(other, path))
    if (value === null && field !== undefined)
      throw new UsageError(
        wording`invalid ${option('set')}: ${path}=null (an arm of the study sets ${field}; set ${path} in a copy of the study)`,
      )
    set = overlay(set, flatten({ [path]: value }, option('set')))
  }
  return { ...specification, set }
}

/**
 * The specification of a search alone: arms, questions and everything else about arms are left out.
 * @throws UsageError if the specification has no search
 */
export function forSearch(specification: Specification): Specification {
  const { title, base, set, seeds, capacity, elsewhere, search } = specification
  if (search === undefined)
    throw new UsageError(
      wording`invalid ${option('search')}: the study has no search (give it one, such as search: { settings: { ${'train.schedule.learningRate: { min: 0.0001, max: 0.01, scale: log } }, configurations: 27, minSteps: 100 })'}`,
    )
  return specificationSchema.parse({
    ...(title !== undefined && { title }),
    base,
    set,
    seeds,
    capacity,
    elsewhere,
    search,
  })
}

/** A specification without its search. */
export function withoutSearch({ search: _, ...specification }: Specification): Specification {
  return specification
}
