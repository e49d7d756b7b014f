/** The file of a plugin: it is read, its types are left out, and it is loaded as a module. */
import { extname, resolve } from 'node:path'
import { formatValue } from '../../../core/config/problems.ts'
import type { UsageError } from '../../../core/errors.ts'
import * as graph from '../../../core/graph/public.ts'
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
  const module = (await import(dataUrl(code)).catch((error: unknown) => {
    throw refuse(`cannot be loaded: ${error instanceof Error ? messageOf(error) : formatValue(error)}`)
  })) as { readonly default?: unknown }
  return module.default
}

async function withoutTypes(text: string, refuse: Refuse): Promise<string> {
  const { transform } = await import('@swc/wasm-typescript').catch(() => {
    throw refuse(
      'is TypeScript, and the package @swc/wasm-typescript is not installed (install it, or give a .js file)',
    )
  })
  try {
    return (await transform(text, { mode: 'strip-only' })).code
  } catch (error) {
    const { message = String(error) } = error as { readonly message?: string }
    throw refuse(`is no TypeScript whose types can be left out: ${message.trim()}`)
  }
}

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

/** The message of an error, with the line of the plugin where it arose. */
function messageOf(error: Error): string {
  const missing = /resolve module specifier "([^"]*)"/.exec(error.message)?.[1]
  if (missing !== undefined)
    return `it imports ${formatValue(missing)} (a plugin is one file, which imports choir/graph and modules of Node only)`
  const place = /base64,[\w+/=]*:(\d+):(\d+)/.exec(error.stack ?? '')
  const message = error.message.replace(/data:text\/javascript;base64,[\w+/=]*/g, 'the plugin')
  return place ? `line ${place[1]}: ${message}` : message
}
