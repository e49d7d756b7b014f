/** The dashboard's server: from folders to an address. */
import { realpath } from 'node:fs/promises'
import { createServer, type Server } from 'node:http'
import { hostname } from 'node:os'
import { getRequestListener } from '@hono/node-server'
import { UsageError } from '../../errors.ts'
import { Cleanup } from '../../system/cleanup.ts'
import { errorCode } from '../../system/disk.ts'
import { WatchedCollection } from '../runs/collection.ts'
import { TraceProcesses } from '../tracing/processes.ts'
import { RunTracing } from '../tracing/tracing.ts'
import { isLoopback } from './access.ts'
import { createApp, type Watched } from './app.ts'
import { builtPage, type Page, readPage } from './page.ts'

export interface WatchOptions extends ServerAddress {
  /** Run directories, or folders of them. */
  readonly roots: readonly string[]
  /** Files and folders of texts that runs may have been trained on, beside what lies below the roots. */
  readonly data?: readonly string[]
}

export interface ServerAddress {
  /** Address to bind to. Default: this machine only, 127.0.0.1. */
  readonly host?: string
  /** Default: 6007, or the next that is free. 0: any. */
  readonly port?: number
  /** Who has it may ask. Needed where other machines reach the server. */
  readonly token?: string
}

export interface WatchServer {
  /** To be opened in a browser; with the token. */
  readonly address: string
  close(): Promise<void>
}

/** TensorBoard has 6006; more than so many servers on a machine are a mistake. */
const ports = { first: 6007, tried: 50 }
const MIN_TOKEN_LENGTH = 8
/** Bytes: an address may name thousands of runs, which Node's 16 KiB do not hold. */
const MAX_HEAD_BYTES = 256 << 10

/**
 * Serves folders until it is closed.
 * @throws UsageError when there is no such folder, or host, port or token are not usable
 * @throws RunError when the page is not built
 */
export async function startWatch({ roots, data = [], ...place }: WatchOptions): Promise<WatchServer> {
  refuseOpenDoor(place)
  const cleanup = new Cleanup()
  try {
    const page = await readPage(builtPage)
    const collection = await WatchedCollection.open(roots)
    cleanup.defer(() => collection.close())
    const places = await Promise.all([...roots, ...data].map(realPlace))
    const server = await serveWatched(collection, page, place, places)
    cleanup.defer(() => server.close())
    return { address: server.address, close: () => cleanup.run() }
  } catch (error) {
    await cleanup.run()
    throw error
  }
}

async function realPlace(path: string): Promise<string> {
  try {
    return await realpath(path)
  } catch (error) {
    // The roots have been looked at: this is a text.
    const why = errorCode(error) === 'ENOENT' ? 'there is no such file or folder' : (error as Error).message
    throw new UsageError(`invalid --data: "${path}" (${why})`)
  }
}

/**
 * The same for a collection that is there, which it does not close.
 * @param places Real paths of what models and their texts may be read from
 */
export async function serveWatched(
  collection: Watched,
  page: Page,
  place: ServerAddress,
  places: readonly string[] = [],
): Promise<WatchServer> {
  refuseOpenDoor(place)
  const { host = '127.0.0.1', token } = place
  const server = createServer({ maxHeaderSize: MAX_HEAD_BYTES })
  const port = await listen(server, host, place.port)
  const processes = new TraceProcesses(places)
  const app = createApp({ collection, tracing: new RunTracing(processes), page, access: { port, token } })
  server.on(
    'request',
    getRequestListener((request) => app.fetch(request), { overrideGlobalObjects: false }),
  )
  return {
    address: addressOf(host, port, token),
    async close() {
      app.close()
      const closed = new Promise((resolve) => server.close(resolve))
      server.closeAllConnections()
      await Promise.all([closed, processes.close()])
    },
  }
}

function refuseOpenDoor({ host = '127.0.0.1', token }: ServerAddress): void {
  if (token !== undefined && token.length < MIN_TOKEN_LENGTH)
    throw new UsageError(`invalid --token: it has ${token.length} characters (expected at least ${MIN_TOKEN_LENGTH})`)
  if (token === undefined && !isLoopback(host))
    throw new UsageError(
      `invalid --host: "${host}" lets other machines read these runs; add --token "$(openssl rand -hex 16)", ` +
        'which they then have to know, or leave --host out and come through a tunnel (ssh -L)',
    )
}

/** The port that it listens on. */
async function listen(server: Server, host: string, asked: number | undefined): Promise<number> {
  if (asked !== undefined) return bind(server, host, asked)
  for (let port = ports.first; ; port++)
    try {
      return await bind(server, host, port)
    } catch (error) {
      if (!(error instanceof TakenPort) || port + 1 === ports.first + ports.tried) throw error
    }
}

class TakenPort extends UsageError {}

function bind(server: Server, host: string, port: number): Promise<number> {
  return new Promise((resolve, reject) => {
    const fail = (error: Error) => reject(inWords(error, host, port))
    server.once('error', fail)
    server.listen({ host: host.replace(/^\[(.*)\]$/, '$1'), port, exclusive: true }, () => {
      server.off('error', fail)
      const address = server.address()
      if (address === null || typeof address === 'string') reject(new Error('internal: a server without a port'))
      else resolve(address.port)
    })
  })
}

function inWords(error: Error, host: string, port: number): Error {
  switch (errorCode(error)) {
    case 'EADDRINUSE':
      return new TakenPort(`invalid --port: ${port} is taken by another program (choose another, or leave --port out)`)
    case 'EACCES':
      return new UsageError(`invalid --port: ${port} is not allowed (expected one from 1024 on)`)
    case 'ENOTFOUND':
    case 'EAI_AGAIN':
    case 'EADDRNOTAVAIL':
    case 'EINVAL':
      return new UsageError(
        `invalid --host: "${host}" is no address of this machine (expected one, or 0.0.0.0 for all)`,
      )
    default:
      return error
  }
}

/** Where it is bound to every address, the name of this machine is one. */
function addressOf(host: string, port: number, token: string | undefined): string {
  const name = /^(?:0\.0\.0\.0|::|\[::\])$/.test(host) ? hostname() : host
  const url = new URL(`http://${name.includes(':') && !name.startsWith('[') ? `[${name}]` : name}:${port}/`)
  if (token !== undefined) url.searchParams.set('token', token)
  return url.href
}
