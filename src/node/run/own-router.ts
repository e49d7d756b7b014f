/**
 * Routers of a user's own, as files: `model.moe.router=./my-router.ts`.
 *
 * A router is a program with the rights of the user, so a program runs only if the user named its file. Its text is
 * then kept in a folder of the user under its name and hash, from which later commands on runs with this router load
 * it: `choir eval RUN` needs no file. A run has a copy, `router.ts`, for reading. A run that somebody else trained names
 * a router that this folder lacks, and is refused.
 */
import { readFile } from 'node:fs/promises'
import { basename, extname, join, resolve } from 'node:path'
import { type Fields, isFields } from '../../core/config/fields.ts'
import { formatValue } from '../../core/config/problems.ts'
import { RunError, UsageError } from '../../core/errors.ts'
import * as graph from '../../core/graph/public.ts'
import type { ModelConfig } from '../../core/model/config.ts'
import { isRegistered, type OwnRouter, registerOwnRouter } from '../../core/model/routing/own.ts'
import { sha256 } from '../../core/sha256.ts'
import { userCache } from '../data/cache.ts'
import { errorCode, makeFolder, replaceFile } from '../system/disk.ts'
import { readText } from '../system/read-text.ts'

/** The text of a router's file, and the end of its name. */
export interface RouterProgram {
  readonly text: string
  readonly extension: string
}

const programs = new Map<string, RouterProgram>()

/** The program of a router that was loaded from a file; undefined for a router that was written in code. */
export const routerProgram = (id: string): RouterProgram | undefined => programs.get(id)

/** Name of the copy of a router in the folder of a run. */
export const routerCopy = ({ extension }: Pick<RouterProgram, 'extension'>): string => `router${extension}`

const ROUTER_BYTES = 2 ** 20
const extensions = ['.ts', '.mts', '.js', '.mjs']

/** The fields with the path of a router's file, `model.moe.router`, replaced by its name and hash; loads the router. */
export async function withOwnRouter(fields: Fields): Promise<Fields> {
  const { model } = fields
  if (!isFields(model) || !isFields(model.moe)) return fields
  const { router } = model.moe
  if (typeof router !== 'string' || !/[\\/]|\.m?[jt]s$/.test(router)) return fields
  const own = await loadRouter(router)
  return { ...fields, model: { ...model, moe: { ...model.moe, router: 'own', own } } }
}

/**
 * Loads a router from a file, remembers it for later runs of this user, and returns its name and hash.
 * @throws UsageError if the file cannot be read, or is no router
 */
export async function loadRouter(file: string): Promise<string> {
  const refuse = (reason: string) => new UsageError(`invalid model.moe.router: ${formatValue(file)} ${reason}`)
  const extension = extname(file)
  if (!extensions.includes(extension))
    throw refuse(`ends in ${formatValue(extension)} (expected ${extensions.join(', ')})`)
  const text = await readText(resolve(file), ROUTER_BYTES).catch((error: Error) => {
    throw refuse(`cannot be read: ${error.message}`)
  })
  const program = { text, extension }
  const { id, router } = await build(program, basename(file, extension), refuse)
  register(id, router, program)
  await remember(id, program)
  return id
}

/** Registers a router that was written in code, under its name and the hash of its functions. */
export async function useRouter(router: OwnRouter): Promise<string> {
  const fault = faultOf(router)
  if (fault !== null) throw new UsageError(`invalid router: ${fault}`)
  const id = await idOf(router.name, `${router.parameters} ${router.choose} ${router.sees}`)
  registerOwnRouter(id, router)
  return id
}

/**
 * Loads the router of a run that was trained with a router of the user's own.
 * @throws UsageError if no command of this user has loaded it from its file
 */
export async function expectRouter({ moe }: Pick<ModelConfig, 'moe'>, run: string): Promise<void> {
  const id = moe?.own
  if (!id || isRegistered(id)) return
  for (const extension of extensions) {
    const kept = join(folder(), `${id}${extension}`)
    const text = await readFile(kept, 'utf8').catch((error: unknown) => {
      if (errorCode(error) === 'ENOENT') return undefined
      throw new RunError(`cannot read ${kept}: ${(error as Error).message}`)
    })
    if (text === undefined) continue
    const program = { text, extension }
    const name = id.split('@')[0] as string
    const built = await build(program, name, (reason) => new UsageError(`invalid router ${kept}: it ${reason}`))
    if (built.id !== id) throw new RunError(`${kept} was changed (remove it, and run: choir check FILE)`)
    register(id, built.router, program)
    return
  }
  throw new UsageError(
    `the run ${run} was trained with the router ${id}, a program that no command of yours has loaded. A router runs with ` +
      `your rights: read it (${join(run, 'router.ts')} if the run has its copy), then run: choir check FILE`,
  )
}

function register(id: string, router: OwnRouter, program: RouterProgram): void {
  registerOwnRouter(id, router)
  programs.set(id, program)
}

const folder = (): string => join(userCache(), 'routers')

/** Keeps the text of a router that the user named. Without a place for it, later commands ask for the file. */
async function remember(id: string, { text, extension }: RouterProgram): Promise<void> {
  try {
    await makeFolder(folder())
    await replaceFile(join(folder(), `${id}${extension}`), text)
  } catch (error) {
    if (!(error instanceof RunError) && errorCode(error) === undefined) throw error
  }
}

type Refuse = (reason: string) => UsageError

async function build({ text, extension }: RouterProgram, fileName: string, refuse: Refuse) {
  const code = linked(extension.endsWith('ts') ? await withoutTypes(text, refuse) : text)
  const url = `data:text/javascript;base64,${Buffer.from(code).toString('base64')}`
  const module = (await import(url).catch((error: Error) => {
    throw refuse(`cannot be loaded: ${messageOf(error)}`)
  })) as { readonly default?: unknown }
  const given = module.default
  const named = isFields(given) && given.name === undefined ? { ...given, name: nameFrom(fileName) } : given
  const fault = faultOf(named)
  if (fault !== null) throw refuse(`is no router: ${fault}`)
  const router = named as unknown as OwnRouter
  return { id: await idOf(router.name, text), router }
}

const idOf = async (name: string, text: string): Promise<string> => `${name}@${(await sha256(text)).slice(0, 16)}`

const nameFrom = (fileName: string): string =>
  fileName
    .toLowerCase()
    .replaceAll(/[^a-z0-9]+/g, '-')
    .replace(/^[^a-z]+|-+$/g, '')
    .slice(0, 40) || 'router'

/** Why a value is no router; null if it is one. */
function faultOf(value: unknown): string | null {
  if (!isFields(value)) return `its default export is ${formatValue(value)} (expected { choose, parameters, sees })`
  const unknown = Object.keys(value).find((key) => !['name', 'parameters', 'choose', 'sees'].includes(key))
  if (unknown !== undefined) return `unknown field ${unknown} (accepted: name, parameters, choose, sees)`
  const { name, parameters, choose, sees } = value
  if (typeof name !== 'string' || !/^[a-z][a-z0-9-]{0,39}$/.test(name))
    return `invalid name: ${formatValue(name)} (expected lower-case letters, digits and hyphens)`
  if (typeof choose !== 'function') return `invalid choose: ${formatValue(choose)} (expected a function)`
  if (parameters !== undefined && typeof parameters !== 'function')
    return `invalid parameters: ${formatValue(parameters)} (expected a function)`
  if (sees !== undefined && !['token', 'past', 'batch', 'batch in training'].includes(sees as string))
    return `invalid sees: ${formatValue(sees)} (expected "token", "past", "batch" or "batch in training")`
  return null
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
  const source = `globalThis[Symbol.for('choir/graph')]`
  return code.replaceAll(
    /^([ \t]*)import\s+(?:\*\s*as\s+(\w+)|\{([^}]*)\})\s*from\s*(['"])choir\/graph\4/gm,
    (_, indent: string, all: string | undefined, names = '') =>
      `${indent}const ${all ?? `{${names.replaceAll(/\bas\b/g, ':')}}`} = ${source}`,
  )
}

const GRAPH = Symbol.for('choir/graph')

/** The message of an error, with the line of the router where it arose. */
function messageOf(error: Error): string {
  const missing = /resolve module specifier "([^"]*)"/.exec(error.message)?.[1]
  if (missing !== undefined)
    return `it imports ${formatValue(missing)} (a router is one file, which imports choir/graph and modules of Node only)`
  const place = /base64,[\w+/=]*:(\d+):(\d+)/.exec(error.stack ?? '')
  const message = error.message.replace(/data:text\/javascript;base64,[\w+/=]*/g, 'the router')
  return place ? `line ${place[1]}: ${message}` : message
}
