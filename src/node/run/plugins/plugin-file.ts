/** The file of a plugin: it is read, its types are left out, and it is loaded as a module. */
import { existsSync } from 'node:fs'
import { dirname, extname, isAbsolute, join, resolve } from 'node:path'
import { formatValue } from '../../../core/config/problems.ts'
import type { UsageError } from '../../../core/errors.ts'
import * as graph from '../../../core/graph/ops/public.ts'
import { nearestName } from '../../../core/text/nearest.ts'
import { readText } from '../../system/read-text.ts'

/** The text of a plugin's file, and the end of its name. */
export interface PluginFile {
  readonly text: string
  readonly extension: string
}

/** The error about a file, with the reason why it is no plugin: `is too long`. */
export type Refuse = (reason: string) => UsageError

export const PLUGIN_EXTENSIONS = ['.ts', '.mts', '.js', '.mjs']

/** The largest file of a plugin, in bytes. */
export const PLUGIN_BYTES = 2 ** 20

/** Whether a value of a configuration is the path of a plugin's file, not one of the words that stand there otherwise. */
export const isPluginPath = (value: unknown): value is string =>
  typeof value === 'string' && /[\\/]|\.m?[jt]s$/.test(value)

/** A path that a file names: beside that file if something is there, otherwise relative to the current folder. */
export function besidePath(path: string, file: string): string {
  const beside = join(dirname(file), path)
  return !isAbsolute(path) && existsSync(beside) ? beside : path
}

/** @throws UsageError if it cannot be read */
export async function readPlugin(file: string, refuse: Refuse): Promise<PluginFile> {
  const extension = extname(file)
  if (/^[\\/]{2}/.test(file)) throw refuse('is on another machine (expected a file of this one)')
  if (!PLUGIN_EXTENSIONS.includes(extension))
    throw refuse(`ends in ${formatValue(extension)} (expected ${PLUGIN_EXTENSIONS.join(', ')})`)
  const text = await readText(resolve(file), PLUGIN_BYTES).catch((error: Error) => {
    throw refuse(`cannot be read: ${error.message}`)
  })
  return { text, extension }
}

/** The default export of a plugin's file. @throws UsageError if the program is wrong, or throws */
export async function importPlugin({ text, extension }: PluginFile, refuse: Refuse): Promise<unknown> {
  const code = linked(extension.endsWith('ts') ? await withoutTypes(text, refuse) : text)
  const module = (await import(dataUrl(code)).catch(async (error: unknown) => {
    throw refuse(`cannot be loaded: ${error instanceof Error ? await messageOf(error, text) : formatValue(error)}`)
  })) as { readonly default?: unknown }
  const [name] = Object.keys(module)
  if (module.default === undefined && name !== undefined && name !== 'default')
    throw refuse(`has no default export (it exports ${name}; expected: export default ${name})`)
  return module.default
}

/** The function with errors that name the line of the plugin's file. @param file The name of the file. */
export const withPlaces =
  <Given extends readonly unknown[], Result>(run: (...given: Given) => Result, file: string) =>
  (...given: Given): Result => {
    try {
      return run(...given)
    } catch (error) {
      const place = error instanceof Error && placeIn(error)
      if (!place) throw error
      throw new Error(`line ${place} of ${file}: ${error.message}`, { cause: error })
    }
  }

interface Syntax {
  readonly message: string
  /** Line from 1 and column from 0. */
  readonly startLine?: number
  readonly startColumn?: number
}

async function withoutTypes(text: string, refuse: Refuse): Promise<string> {
  const transform = await parser().catch(() => {
    throw refuse(
      'is TypeScript, and the package @swc/wasm-typescript is not installed (install it, or give a .js file)',
    )
  })
  try {
    return (await transform(text, { mode: 'strip-only' })).code
  } catch (error) {
    const { message = String(error), ...place } = error as Partial<Syntax>
    throw refuse(`is no TypeScript whose types can be left out: ${atPlace(place)}${message.trim()}`)
  }
}

const parser = async () => (await import('@swc/wasm-typescript')).transform

const atPlace = ({ startLine, startColumn }: Partial<Syntax>): string =>
  startLine === undefined ? '' : `line ${startLine}${startColumn === undefined ? '' : `, column ${startColumn + 1}`}: `

/**
 * The program with its imports of `choir/graph` taken from this program, so that both trace one graph whichever folder
 * the file is in.
 */
function linked(code: string): string {
  Object.assign(globalThis, { [GRAPH]: graph })
  const names = Object.keys(graph).join(', ')
  const module = `export const { ${names} } = globalThis[Symbol.for('choir/graph')]`
  return code
    .replace(/^\uFEFF/, '')
    .replaceAll(/\bfrom\s*(?:'choir\/graph'|"choir\/graph")/g, () => `from ${JSON.stringify(dataUrl(module))}`)
}

const dataUrl = (code: string): string => `data:text/javascript;base64,${Buffer.from(code).toString('base64')}`

const GRAPH = Symbol.for('choir/graph')

/** A line of a plugin in the stack of an error; undefined if the plugin has no part in it. */
const placeIn = ({ stack = '' }: Error): string | undefined =>
  /data:text\/javascript;base64,[\w+/=]*:(\d+)(?::\d+|\n)/.exec(stack)?.[1]

/** The message of an error while a plugin was loaded, with the line of the plugin where it arose. */
async function messageOf(error: Error, text: string): Promise<string> {
  const missing = /resolve module specifier "([^"]*)"/.exec(error.message)?.[1]
  if (missing !== undefined)
    return `it imports ${formatValue(missing)} (a plugin is one file, which imports choir/graph and modules of Node only)`
  const place = placeIn(error)
  const at = place === undefined ? await placeOfSyntax(error, text) : `line ${place}: `
  const unknown = /requested module 'data:.*' does not provide an export named '(.*)'/.exec(error.message)?.[1]
  if (unknown === undefined) return `${at}${error.message}`
  const near = nearestName(unknown, Object.keys(graph))
  return `${at}choir/graph does not export ${unknown}${near === undefined ? '' : ` (did you mean ${near}?)`}`
}

/** Node does not say where a module is no JavaScript, so the place is that of the parser that leaves out types. */
async function placeOfSyntax(error: Error, text: string): Promise<string> {
  if (!(error instanceof SyntaxError)) return ''
  try {
    await (await parser())(text, { mode: 'strip-only' })
  } catch (found) {
    return atPlace(found as Partial<Syntax>)
  }
  return ''
}
