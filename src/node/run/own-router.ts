/**
 * Routers of a user's own, as files: `model.moe.router=./my-router.ts`.
 *
 * A router is a program with the rights of the user, so a program runs only if the user named its file. Its text is
 * then kept in a folder of the user under its name and hash, from which later commands on runs with this router load
 * it: `choir eval RUN` needs no file. A run has a copy, `router.ts`, for reading. A run that somebody else trained names
 * a router that this folder lacks, and is refused.
 */
import { randomUUID } from 'node:crypto'
import { readdir, readFile } from 'node:fs/promises'
import { basename, extname, join, resolve } from 'node:path'
import { type Fields, isFields } from '../../core/config/fields.ts'
import { formatValue } from '../../core/config/problems.ts'
import { RunError, UsageError } from '../../core/errors.ts'
import * as graph from '../../core/graph/public.ts'
import type { ModelConfig } from '../../core/model/config.ts'
import { OWN_ROUTER } from '../../core/model/moe-config.ts'
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
  const moe = isFields(model) ? model.moe : null
  if (!isFields(model) || !isFields(moe)) return fields
  const { router, own } = moe
  const withMoe = (change: Fields) => ({ ...fields, model: { ...model, moe: { ...moe, ...change } } })
  if (isRouterPath(router)) return withMoe({ router: 'own', own: await loadRouter(router) })
  if (router === 'own' && typeof own === 'string') await expectRouter(own, 'this configuration')
  // A built-in router replaces the router of a run.
  return router !== undefined && router !== 'own' && own ? withMoe({ own: null }) : fields
}

/** Whether a value of `model.moe.router` is the path of a file. */
export const isRouterPath = (router: unknown): router is string =>
  typeof router === 'string' && /[\\/]|\.m?[jt]s$/.test(router)

/**
 * Loads a router from a file, remembers it for later runs of this user, and returns its name and hash.
 * @throws UsageError if the file cannot be read, or is no router
 */
export async function loadRouter(file: string): Promise<string> {
  const refuse = (reason: string) => new UsageError(`invalid model.moe.router: ${formatValue(file)} ${reason}`)
  const extension = extname(file)
  if (/^[\\/]{2}/.test(file)) throw refuse('is on another machine (expected a file of this one)')
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

const inCode = new Map<string, OwnRouter>()

/**
 * Makes a router that was written in code known under its name and the hash of the text of its functions. Values that a
 * function closes over are not in its text, so routers that differ in them need names of their own.
 * @throws UsageError if it is no router, or another object has its name and text
 */
export async function useRouter(router: OwnRouter): Promise<string> {
  const fault = isFields(router)
    ? faultOf(router)
    : `${formatValue(router)} (expected { name, choose, parameters, sees })`
  if (fault !== null) throw new UsageError(`invalid router: ${fault}`)
  const id = await idOf(router.name, `${router.parameters} ${router.choose} ${router.sees}`)
  if ((inCode.get(id) ?? router) !== router)
    throw new UsageError(
      `invalid router: another router is named "${router.name}" and has the same text, and may differ in values that its ` +
        'functions close over (give each router a name of its own, or pass the same object again)',
    )
  inCode.set(id, router)
  registerOwnRouter(id, router)
  return id
}

/**
 * Loads a router of the user's own that a configuration names by its hash.
 * @param id `model.moe.own`; a built-in router has none.
 * @param subject What names it, for messages: `the run runs/mine`.
 * @param copy The run's own copy of it, if there may be one.
 * @throws UsageError if no command of this user has loaded it from its file
 */
export async function expectRouter(id: string | null | undefined, subject: string, copy?: string): Promise<void> {
  if (!id || !OWN_ROUTER.test(id) || isRegistered(id)) return
  const [name = '', hash = ''] = id.split('@')
  // A copy of the file may have another name.
  const names = await readdir(folder()).catch((error: unknown) => {
    if (errorCode(error) === 'ENOENT' || errorCode(error) === 'ENOTDIR') return []
    throw new RunError(`cannot read ${folder()}: ${(error as Error).message}`)
  })
  const kept = names.find((each) => extensions.some((extension) => each.endsWith(`@${hash}${extension}`)))
  if (kept === undefined)
    throw new UsageError(
      `${subject} has the router ${id}, a program that no command of yours has loaded. A router runs with your rights: ` +
        `read it${copy === undefined ? '' : ` (${copy}, if it is there)`}, then run: choir check FILE`,
    )
  const path = join(folder(), kept)
  const program = { text: await readText(path, ROUTER_BYTES), extension: extname(kept) }
  if ((await hashOf(program.text)) !== hash)
    throw new RunError(`${path} was changed (remove it, and run: choir check FILE)`)
  const { router } = await build(program, name, (reason) => new UsageError(`invalid router ${path}: it ${reason}`))
  register(id, { ...router, name }, program)
}

/** {@link expectRouter} for the configuration of a run in a directory. */
export const expectRouterOf = ({ moe }: Pick<ModelConfig, 'moe'>, directory: string): Promise<void> =>
  expectRouter(moe?.own, `the run ${directory}`, join(directory, 'router.ts'))

function register(id: string, router: OwnRouter, program: RouterProgram): void {
  registerOwnRouter(id, router)
  programs.set(id, program)
}

const folder = (): string => join(userCache(), 'routers')

/** Keeps the text of a router that the user named. Without a place for it, other processes ask for the file. */
async function remember(id: string, { text, extension }: RouterProgram): Promise<void> {
  const path = join(folder(), `${id}${extension}`)
  try {
    if ((await readFile(path, 'utf8').catch(() => undefined)) === text) return
    await makeFolder(folder())
    await replaceFile(path, text, `${path}.${randomUUID()}`)
  } catch (error) {
    if (!(error instanceof RunError) && errorCode(error) === undefined) throw error
  }
}

type Refuse = (reason: string) => UsageError

async function build({ text, extension }: RouterProgram, fileName: string, refuse: Refuse) {
  const code = linked(extension.endsWith('ts') ? await withoutTypes(text, refuse) : text)
  const module = (await import(dataUrl(code)).catch((error: unknown) => {
    throw refuse(`cannot be loaded: ${error instanceof Error ? messageOf(error) : formatValue(error)}`)
  })) as { readonly default?: unknown }
  const given = module.default
  const named = isFields(given) && given.name === undefined ? { ...given, name: nameFrom(fileName) } : given
  const fault = faultOf(named)
  if (fault !== null) throw refuse(`is no router: ${fault}`)
  const router = named as unknown as OwnRouter
  return { id: await idOf(router.name, text), router }
}

const hashOf = async (text: string): Promise<string> => (await sha256(text)).slice(0, 16)

const idOf = async (name: string, text: string): Promise<string> => `${name}@${await hashOf(text)}`

const nameFrom = (fileName: string): string =>
  fileName
    .toLowerCase()
    .replaceAll(/[^a-z0-9]+/g, '-')
    .replace(/^[^a-z]+/, '')
    .slice(0, 40)
    .replace(/-$/, '') || 'router'

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
  const names = Object.keys(graph).join(', ')
  const module = `export const { ${names} } = globalThis[Symbol.for('choir/graph')]`
  return code
    .replace(/^\uFEFF/, '')
    .replaceAll(/\bfrom\s*(?:'choir\/graph'|"choir\/graph")/g, () => `from ${JSON.stringify(dataUrl(module))}`)
}

const dataUrl = (code: string): string => `data:text/javascript;base64,${Buffer.from(code).toString('base64')}`

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
