/** The configuration in a run's config.json. */
import { RunError, UsageError } from '../errors.ts'
import { parseJson } from '../text/json.ts'
import { type Fields, isFields } from './fields.ts'
import { expectPlain } from './plain.ts'
import { merge } from './preset-fields.ts'
import { formatValue } from './problems.ts'

/**
 * The fields of a stored configuration, not yet checked.
 * @param file Path for error messages.
 * @param version Version of this program.
 * @throws RunError if the file is damaged, or was written by a newer version; UsageError if it belongs to a model of
 * another library
 */
export function storedFields(text: string, file: string, version: string): Fields {
  try {
    const stored: unknown = parseJson(text)
    if (!isFields(stored)) throw new SyntaxError('it is not a JSON object')
    const config = isFields(stored.config) ? stored.config : stored
    if (!('model' in config) && typeof config.model_type === 'string')
      throw new UsageError(
        `no run in ${file.replace(/[\\/][^\\/]*$/, '')}: its config.json is that of a ${config.model_type} model of another ` +
          'library (make a run of it with choir import FOLDER --out RUN)',
      )
    expectPlain(stored, file)
    expectKnownVersion(stored.version, file, version)
    expectFacts(stored, file)
    // The other fields are facts about the run, not settings.
    const sections = ['model', 'data', 'train', 'parallel', 'runtime'].filter((key) => key in config)
    return withOriginalHash(withOriginalScales(Object.fromEntries(sections.map((key) => [key, config[key]]))))
  } catch (error) {
    if (error instanceof UsageError || error instanceof RunError) throw error
    throw new RunError(`cannot read ${file}: ${(error as Error).message}`)
  }
}

/**
 * Adds the initial scales that a run of an old version was trained with. Configurations are stored in full, so a
 * configuration without `model.embeddingScale` is older than these settings.
 */
function withOriginalScales(fields: Fields): Fields {
  const { model } = fields
  if (!isFields(model) || 'embeddingScale' in model) return fields
  const { width } = model
  const init = isFields(fields.train) && isFields(fields.train.init) ? fields.train.init : {}
  const scale = typeof init.scale === 'number' ? init.scale : 1
  const deviation = Math.sqrt(scale / (typeof width === 'number' ? width : 1))
  const start = { embedding: deviation, residual: 1, router: 1, head: 1 }
  return merge({ model: { embeddingScale: 1 }, train: { init: start } }, fields)
}

/** A hash router without `model.moe.hashChoices` is older than that setting, so its tables are `consecutive`. */
function withOriginalHash(fields: Fields): Fields {
  const moe = isFields(fields.model) ? fields.model.moe : null
  if (!isFields(moe) || moe.router !== 'hash' || 'hashChoices' in moe) return fields
  return merge({ model: { moe: { hashChoices: 'consecutive' } } }, fields)
}

/**
 * Checks the time of creation and the list of later changes of settings, to which a resumed run adds.
 * @throws RunError if either is invalid
 */
function expectFacts({ created, changes }: Fields, file: string): void {
  if (created !== undefined && typeof created !== 'string')
    throw new RunError(`cannot read ${file}: invalid created: ${formatValue(created)} (expected a time)`)
  if (changes !== undefined && !(Array.isArray(changes) && changes.every(isFields)))
    throw new RunError(
      `cannot read ${file}: invalid changes: ${formatValue(changes)} (expected a list of changed settings, as a resumed ` +
        'run writes them)',
    )
}

/**
 * Refuses the file of a newer version, which may give settings another meaning. Versions that differ only in the last
 * number have the same files.
 * @throws RunError if the version is newer than this program, or is no version
 */
function expectKnownVersion(stored: unknown, file: string, version: string): void {
  // The file was written by hand, or before versions were stored.
  if (stored === undefined) return
  const numbersOf = (text: unknown) =>
    (/^(\d+)\.(\d+)\.\d+/.exec(typeof text === 'string' ? text : '') ?? []).slice(1).map(Number)
  const [major, minor = 0] = numbersOf(stored)
  const [ownMajor = 0, ownMinor = 0] = numbersOf(version)
  if (major === undefined)
    throw new RunError(
      `cannot read ${file}: invalid version: ${formatValue(stored)} (expected one such as "${version}")`,
    )
  if (major > ownMajor || (major === ownMajor && minor > ownMinor))
    throw new RunError(`cannot read ${file}: it was written by Choir ${stored}, and this is ${version} (update Choir)`)
}
