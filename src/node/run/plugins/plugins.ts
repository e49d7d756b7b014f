/**
 * Plugins as files: `model.moe.router=./my-router.ts`.
 *
 * A plugin is a program with the rights of the user, so it runs only if the user named its file, or gave a configuration
 * or a study that names it. Its text is then kept in a folder of the user under its name and hash, from which later
 * commands on runs with this plugin load it: `choir eval RUN` needs no file. A run has a copy, `router.ts`, for reading. A
 * run that somebody else trained names a plugin that this folder lacks, and is refused.
 */
import { randomUUID } from 'node:crypto'
import { readdir, readFile } from 'node:fs/promises'
import { basename, join } from 'node:path'
import { type Fields, isFields } from '../../../core/config/fields.ts'
import { formatValue, listWithOr } from '../../../core/config/problems.ts'
import { RunError, UsageError } from '../../../core/errors.ts'
import { PLUGIN_ID, type Plugin, type PluginField, type Plugins } from '../../../core/plugins.ts'
import { sha256 } from '../../../core/sha256.ts'
import { nearestName } from '../../../core/text/nearest.ts'
import { userCache } from '../../data/cache.ts'
import { errorCode, makeFolder, replaceFile } from '../../system/disk.ts'
import { readText } from '../../system/read-text.ts'
import {
  articleOf,
  kindOf,
  namesIn,
  nounOf,
  type PluginKind,
  type PluginOf,
  pathOf,
  pluginKinds,
  replaced,
  sectionOf,
  withPlugin,
} from './kinds.ts'
import {
  besidePath,
  importPlugin,
  isPluginPath,
  PLUGIN_BYTES,
  PLUGIN_EXTENSIONS,
  type PluginFile,
  type Refuse,
  readPlugin,
  withPlaces,
} from './plugin-file.ts'

/**
 * The fields with the paths of plugins' files replaced by the names and hashes of the plugins, which are loaded.
 * @param subject What the fields are, for messages.
 * @param directory The directory of a run that has them.
 */
export async function withPlugins(fields: Fields, subject = 'this configuration', directory?: string): Promise<Fields> {
  let result = fields
  for (const kind of pluginKinds) {
    const { section: path, field } = kindOf(kind)
    const section = sectionOf(result, kindOf(kind))
    if (!section) continue
    const { [field]: value, own } = section
    if (isPluginPath(value)) result = withPlugin(result, kind, await loadPlugin(kind, value))
    else if (value === 'own' && typeof own === 'string') await expectPlugin(kind, own, subject, directory)
    // What is built in replaces the plugin of a run.
    else if (value !== undefined && value !== 'own' && own) result = replaced(result, path, { ...section, own: null })
  }
  return result
}

/** The fields of a configuration file, with the paths of plugins that are beside the file. */
export const pluginsBeside = (fields: Fields, file: string): Fields =>
  withPluginPaths(fields, (path) => besidePath(path, file))

/** The fields with other paths of plugins. */
export function withPluginPaths(fields: Fields, of: (path: string) => string): Fields {
  let result = fields
  for (const kind of pluginKinds) {
    const { section: path, field } = kindOf(kind)
    const section = sectionOf(result, kindOf(kind))
    const value = section?.[field]
    if (section && isPluginPath(value)) result = replaced(result, path, { ...section, [field]: of(value) })
  }
  return result
}

const files = new Map<string, PluginFile>()

/** The copies of its plugins that a run has: names of files, and their texts. Plugins that were written in code have none. */
export const pluginCopies = (config: unknown): { readonly name: string; readonly text: string }[] =>
  namesIn(config).flatMap(({ kind, id }) => {
    const file = files.get(id)
    return file ? [{ name: `${kind}${file.extension}`, text: file.text }] : []
  })

/**
 * Loads a plugin from a file, remembers it for later runs of this user, and returns its name and hash.
 * @throws UsageError if the file cannot be read, or is no plugin of this kind
 */
export async function loadPlugin(kind: PluginKind, path: string): Promise<string> {
  const refuse = (reason: string) => new UsageError(`invalid ${pathOf(kindOf(kind))}: ${formatValue(path)} ${reason}`)
  const file = await readPlugin(path, refuse)
  const plugin = await build(kind, file, basename(path, file.extension), refuse)
  const id = await idOf(plugin.name, file.text)
  register(kind, id, plugin, file)
  await remember(kind, id, file)
  return id
}

/**
 * Loads a plugin of whatever kind from a file: the kind of which it has the functions.
 * @throws UsageError if the file cannot be read, or is no plugin
 */
export async function loadAnyPlugin(path: string): Promise<{ readonly kind: PluginKind; readonly id: string }> {
  const refuse = (reason: string) => new UsageError(`invalid FILE: ${formatValue(path)} ${reason}`)
  const given = await importPlugin(await readPlugin(path, refuse), refuse)
  const kind = isFields(given) ? pluginKinds.find((kind) => functionsOf(kind).some((name) => name in given)) : undefined
  if (kind === undefined) {
    const known = pluginKinds.map((kind) => `${articleOf(kind)} ${nounOf(kind)} with ${functionsOf(kind).join(', ')}`)
    throw refuse(`exports ${formatValue(given)} as default (expected ${listWithOr(known)})`)
  }
  return { kind, id: await loadPlugin(kind, path) }
}

/** The functions that every plugin of a kind has. */
const functionsOf = (kind: PluginKind): string[] =>
  Object.entries(kindOf(kind).plugins.fields).flatMap(([name, rule]) => (rule === 'function' ? [name] : []))

const inCode = new Map<string, Plugin>()

/**
 * Makes a plugin that was written in code known under its name and the hash of the text of its functions. Values that a
 * function closes over are not in its text, so plugins that differ in them need names of their own.
 * @throws UsageError if it is no plugin of this kind, or another object has its name and text
 */
export async function usePlugin<K extends PluginKind>(kind: K, plugin: PluginOf<K>): Promise<string> {
  const { plugins } = kindOf(kind)
  const fault = faultOf(plugin, plugins)
  if (fault !== null) throw new UsageError(`invalid ${kind}: ${fault}`)
  const given = plainPlugin(plugin as Plugin, kind)
  const text = Object.keys(plugins.fields).map((field) => {
    const value = given[field]
    return isFields(value) ? JSON.stringify(value) : value
  })
  const id = await idOf(given.name, text.join(' '))
  if ((inCode.get(id) ?? plugin) !== plugin)
    throw new UsageError(
      `invalid ${kind}: another ${nounOf(kind)} is named "${given.name}" and has the same text, and may differ in values that ` +
        `its functions close over (give each ${nounOf(kind)} a name of its own, or pass the same object again)`,
    )
  inCode.set(id, plugin)
  plugins.register(id, bound(given, plugin as Plugin))
  return id
}

/**
 * Loads a plugin that a configuration names by its hash.
 * @param subject What names it, for messages: `the run runs/mine`.
 * @param directory The directory of the run, if there is one, which may have a copy of it.
 * @throws UsageError if no command of this user has loaded it from its file
 */
async function expectPlugin(kind: PluginKind, id: string, subject: string, directory?: string): Promise<void> {
  const { plugins } = kindOf(kind)
  if (!PLUGIN_ID.test(id) || plugins.has(id)) return
  const [name = '', hash = ''] = id.split('@')
  // A copy of the file may have another name.
  const names = await readdir(folderOf(kind)).catch((error: unknown) => {
    if (errorCode(error) === 'ENOENT' || errorCode(error) === 'ENOTDIR') return []
    throw new RunError(`cannot read ${folderOf(kind)}: ${(error as Error).message}`)
  })
  const kept = names.find((each) => PLUGIN_EXTENSIONS.some((extension) => each.endsWith(`@${hash}${extension}`)))
  if (kept === undefined) {
    const copy = directory === undefined ? '' : ` (${join(directory, `${kind}.ts`)}, if it is there)`
    throw new UsageError(
      `${subject} has the ${nounOf(kind)} ${id}, a program that no command of yours has loaded. Such a program runs with your rights: ` +
        `read it${copy}, then run: choir check FILE`,
    )
  }
  const path = join(folderOf(kind), kept)
  const extension = PLUGIN_EXTENSIONS.find((each) => kept.endsWith(each)) as string
  const file = { text: await readText(path, PLUGIN_BYTES), extension }
  if ((await hashOf(file.text)) !== hash)
    throw new RunError(`${path} was changed (remove it, and give the file of the ${nounOf(kind)} again)`)
  const plugin = await build(
    kind,
    file,
    name,
    (reason) => new UsageError(`invalid ${nounOf(kind)} ${path}: it ${reason}`),
  )
  register(kind, id, { ...plugin, name }, file)
}

/** Loads the plugins that a configuration names by their hashes. @throws UsageError if no command has loaded one */
export async function expectPlugins(config: unknown, subject: string, directory?: string): Promise<void> {
  for (const { kind, id } of namesIn(config)) await expectPlugin(kind, id, subject, directory)
}

function register(kind: PluginKind, id: string, plugin: Plugin, file: PluginFile): void {
  kindOf(kind).plugins.register(id, plugin)
  files.set(id, file)
}

const folderOf = (kind: PluginKind): string => join(userCache(), `${kind}s`)

/** Why plugins could not be kept, by their names in configurations. */
const unkept = new Map<string, string>()

/** A warning if this process has a plugin that other processes will not find. @param id Its name in configurations. */
export const unkeptWarning = (id: string): string | undefined => unkept.get(id)

/** The warnings about plugins of configurations that this process has, but that other processes will not find. */
export const unkeptPlugins = (configs: readonly unknown[]): string[] => [
  ...new Set(configs.flatMap(namesIn).flatMap(({ id }) => unkept.get(id) ?? [])),
]

/**
 * Keeps the text of a plugin that the user named. A folder that cannot be written stops no command, since this process
 * has the plugin.
 */
async function remember(kind: PluginKind, id: string, { text, extension }: PluginFile): Promise<void> {
  const path = join(folderOf(kind), `${id}${extension}`)
  try {
    if ((await readFile(path, 'utf8').catch(() => undefined)) === text) return
    await makeFolder(folderOf(kind))
    await replaceFile(path, text, `${path}.${randomUUID()}`)
    unkept.delete(id)
  } catch (error) {
    if (!(error instanceof RunError) && errorCode(error) === undefined) throw error
    unkept.set(
      id,
      `cannot keep the ${nounOf(kind)} ${id} in ${folderOf(kind)} (${(error as Error).message}), so other processes do not find ` +
        'it: resumed runs, commands on the run, and the runs of a study (make the folder writable, or set XDG_CACHE_HOME ' +
        'to another, for these commands too)',
    )
  }
}

async function build(kind: PluginKind, file: PluginFile, fileName: string, refuse: Refuse): Promise<Plugin> {
  const given = await importPlugin(file, refuse)
  const name = isFields(given) && given.name === undefined ? nameFrom(fileName, kind) : undefined
  const fault = faultOf(given, kindOf(kind).plugins, name)
  if (fault !== null) throw refuse(`is no ${nounOf(kind)}: ${fault}`)
  const plugin = given as unknown as Plugin
  const plain = bound({ ...plainPlugin(plugin, kind), ...(name !== undefined && { name }) }, plugin)
  return mapped(plain, (run) => withPlaces(run, `${fileName}${file.extension}`))
}

type PlainPlugin = Plugin & { readonly [field: string]: unknown }

/** The name and the fields of a plugin, which may be an instance of a class with methods. */
function plainPlugin(plugin: Plugin, kind: PluginKind): PlainPlugin {
  const given = plugin as PlainPlugin
  const fields = Object.keys(kindOf(kind).plugins.fields).filter((field) => given[field] !== undefined)
  return { name: given.name, ...Object.fromEntries(fields.map((field) => [field, given[field]])) }
}

/** The plugin with functions that know the object that they were methods of. */
const bound = (plain: PlainPlugin, plugin: Plugin): Plugin => mapped(plain, (run) => run.bind(plugin))

type AnyFunction = (...given: unknown[]) => unknown

/** The plugin with other functions. */
const mapped = (plugin: Plugin, of: (run: AnyFunction) => AnyFunction): Plugin =>
  Object.fromEntries(
    Object.entries(plugin).map(([field, value]: [string, unknown]) => [
      field,
      typeof value === 'function' ? of(value as AnyFunction) : value,
    ]),
  ) as unknown as Plugin

const hashOf = async (text: string): Promise<string> => (await sha256(text)).slice(0, 16)

const idOf = async (name: string, text: string): Promise<string> => `${name}@${await hashOf(text)}`

const nameFrom = (fileName: string, kind: PluginKind): string =>
  fileName
    .toLowerCase()
    .replaceAll(/[^a-z0-9]+/g, '-')
    .replace(/^[^a-z]+/, '')
    .slice(0, 40)
    .replace(/-$/, '') || kind

/** Why a value is no plugin of a kind; null if it is one. */
function faultOf(value: unknown, { fields }: Plugins<Plugin>, fileName?: string): string | null {
  const rules = Object.entries(fields as Readonly<Record<string, PluginField>>)
  const names = rules.map(([name]) => name)
  if (!isFields(value)) return `its default export is ${formatValue(value)} (expected { ${names.join(', ')} })`
  const unknown = Object.keys(value).find((key) => key !== 'name' && !names.includes(key))
  if (unknown !== undefined) {
    const near = nearestName(unknown, ['name', ...names])
    return `unknown field ${unknown} (accepted: name, ${names.join(', ')}${near === undefined ? '' : `; did you mean ${near}?`})`
  }
  const { name = fileName } = value
  if (typeof name !== 'string' || !/^[a-z][a-z0-9-]{0,39}$/.test(name))
    return `invalid name: ${formatValue(name)} (expected lower-case letters, digits and hyphens)`
  for (const [field, rule] of rules) {
    const given = value[field]
    if (given === undefined && rule !== 'function') continue
    if (rule === 'optional settings') {
      const fault = settingsFault(field, given)
      if (fault !== null) return fault
      continue
    }
    const isRight = typeof rule === 'string' ? typeof given === 'function' : rule.includes(given as string)
    const accepted = typeof rule === 'string' ? 'a function' : listWithOr(rule.map((word) => `"${word}"`))
    if (!isRight) return `invalid ${field}: ${formatValue(given)} (expected ${accepted})`
  }
  return null
}

/** Why a value is no settings of a plugin, by name with their defaults; null if it is. */
function settingsFault(field: string, value: unknown): string | null {
  if (!isFields(value)) return `invalid ${field}: ${formatValue(value)} (expected names with their defaults)`
  for (const [name, standard] of Object.entries(value)) {
    if (!/^[a-zA-Z][a-zA-Z0-9]{0,39}$/.test(name))
      return `invalid name in ${field}: ${formatValue(name)} (expected letters and digits)`
    const isPlain =
      typeof standard === 'number' ? Number.isFinite(standard) : /^(string|boolean)$/.test(typeof standard)
    if (!isPlain)
      return `invalid ${field}.${name}: ${formatValue(standard)} (expected a default: a number, text, true or false)`
  }
  return null
}
