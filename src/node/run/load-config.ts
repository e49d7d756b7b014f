/**
 * Loads a complete, valid configuration from the name of a preset, a YAML or JSON file, and `--set`
 * assignments. Three layers are merged, later ones winning: preset, file, assignments; then the schema
 * fills in defaults and validates.
 */
import { readdir, stat } from 'node:fs/promises'
import { basename, dirname, join } from 'node:path'
import { type Fields, isFields } from '../../core/config/fields.ts'
import { type Presets, presetFields, withPreset } from '../../core/config/preset-fields.ts'
import { presets } from '../../core/config/presets.ts'
import { formatValue, listWithOr, parseInput, suggestion } from '../../core/config/problems.ts'
import { type RunConfig, runSchema } from '../../core/config/run-config.ts'
import { storedFields } from '../../core/config/stored-fields.ts'
import { RunError, UsageError } from '../../core/errors.ts'
import { nearestName } from '../../core/text/nearest.ts'
import { version } from '../../core/version.ts'
import { CONFIG_BYTES, readText } from '../system/read-text.ts'
import { refuseSpecialFiles } from '../system/special-files.ts'
import { pluginPathIn } from './plugins/kinds.ts'
import { pluginsBeside, withPlugins } from './plugins/plugins.ts'
import { isYamlPath, readYaml } from './read-yaml.ts'
import { parseSet, setField } from './set-option.ts'

/**
 * Loads and validates the configuration of a run.
 * @param source Name of a preset or path of a YAML or JSON file, which may be the config.json of a run; undefined: the
 *   schema's defaults.
 * @param sets Assignments such as `train.steps=500` or `model.moe=null`. The value is a YAML scalar or flow collection,
 *   and a later assignment wins.
 * @throws UsageError listing every problem: field, value, what is accepted and the nearest name
 */
export async function loadConfig(source: string | undefined, sets: readonly string[]): Promise<RunConfig> {
  return parseInput(runSchema, await readFields(source, sets, presets), 'configuration')
}

/**
 * Reads and merges the fields without validating them, for configurations with more fields than a run has.
 * @throws UsageError if the preset or file does not exist, an assignment is malformed, or the file of a router of the
 * user's own is no router
 */
export async function readFields(
  source: string | undefined,
  sets: readonly string[],
  presets: Presets,
): Promise<Fields> {
  return withPlugins(withSets(source === undefined ? {} : await readSource(source, presets), sets))
}

/**
 * The configuration of the run in a directory.
 *
 * @throws UsageError if there is no run; RunError if its config.json is damaged, or the directory has a pipe or device
 */
export async function loadRunConfig(directory: string, sets: readonly string[] = []): Promise<RunConfig> {
  const file = join(directory, 'config.json')
  let text: string
  try {
    text = await readText(file, CONFIG_BYTES)
  } catch (error) {
    if (isMissing(error))
      throw new UsageError(`no run in ${formatValue(directory)} (expected a run directory with a config.json)`)
    throw new RunError(`cannot read ${file}: ${(error as Error).message}`)
  }
  await refuseSpecialFiles(directory)
  try {
    // The schema of a configuration with plugins needs their parameters.
    const stored = storedFields(text, file, version())
    refusePaths(stored, file)
    const fields = await withPlugins(withSets(stored, sets), `the run ${directory}`, directory)
    return parseInput(runSchema, fields, 'configuration')
  } catch (error) {
    if (!(error instanceof UsageError)) throw error
    // Either the file is wrong, or one of the assignments.
    const isSound = runSchema.safeParse(storedFields(text, file, version())).success
    throw isSound ? error : new UsageError(`${file}: ${error.message}`)
  }
}

/**
 * Parses the text of a run's config.json.
 * @param file Path for error messages.
 * @throws UsageError listing invalid fields; RunError if the file is damaged
 */
export function parseRunConfig(text: string, file: string, sets: readonly string[] = []): RunConfig {
  return parseInput(runSchema, withSets(storedFields(text, file, version()), sets), 'configuration')
}

function withSets(fields: Fields, sets: readonly string[]): Fields {
  return sets.map(parseSet).reduce((given, [path, value]) => setField(given, path, value), fields)
}

async function readSource(source: string, presets: Presets): Promise<Fields> {
  const preset = presetFields(presets, source)
  if (preset) return preset
  const names = listWithOr(Object.keys(presets))
  let isDirectory: boolean
  try {
    isDirectory = (await stat(source)).isDirectory()
  } catch (error) {
    if (!isMissing(error)) throw error
    if (isYamlPath(source)) throw new UsageError(await missingFile(source, names))
    const hint = suggestion(source, Object.keys(presets))
    throw new UsageError(`unknown preset ${formatValue(source)} (expected ${names}, or a YAML or JSON file${hint})`)
  }
  if (isDirectory)
    throw new UsageError(
      `invalid configuration: ${formatValue(source)} is a folder (expected a preset, or a YAML or JSON file)`,
    )
  return readConfigFile(source, presets)
}

async function missingFile(file: string, names: string): Promise<string> {
  const siblings = await readdir(dirname(file)).catch(() => [])
  const near = nearestName(
    basename(file),
    siblings.filter((name) => /\.(ya?ml|json)$/i.test(name)),
  )
  const hint = near === undefined ? '' : `; did you mean "${join(dirname(file), near)}"?`
  return `no such file: ${formatValue(file)} (expected a YAML or JSON file, or a preset: ${names}${hint})`
}

async function readConfigFile(file: string, presets: Presets): Promise<Fields> {
  const text = await readText(file, CONFIG_BYTES).catch((error: Error) => {
    throw new UsageError(`cannot read configuration ${formatValue(file)}: ${error.message}`)
  })
  if (text.trim() === '')
    throw new UsageError(`invalid ${file}: the file is empty (expected fields such as model: and train:)`)
  const content = readYaml(text, file)
  if (content === null || content === undefined) return {}
  if (!isFields(content))
    throw new UsageError(`invalid ${file}: ${formatValue(content)} (expected fields such as model: and train:)`)
  // This is the config.json of a run, which has facts about the run too.
  if (typeof content.version === 'string' && typeof content.created === 'string') {
    const stored = storedFields(text, file, version())
    refusePaths(stored, file)
    return stored
  }
  return withPreset(pluginsBeside(content, file), presets)
}

/** Refuses a path of a plugin in the config.json of a run: nobody named it in a command. */
function refusePaths(stored: Fields, file: string): void {
  const path = pluginPathIn(stored)
  if (path !== undefined) throw new UsageError(`invalid ${file}: a run stores no path in ${path}`)
}

function isMissing(error: unknown): boolean {
  const code = (error as NodeJS.ErrnoException).code
  // A name that no file can have counts as the name of a missing file.
  return ['ENOENT', 'ENOTDIR', 'ENAMETOOLONG', 'ELOOP', 'ERR_INVALID_ARG_VALUE'].includes(code ?? '')
}
