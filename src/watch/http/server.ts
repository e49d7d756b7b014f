/** Starts the dashboard's HTTP server for folders of runs. */
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
  /** Files and folders outside the roots with texts that runs were trained on. */
  readonly data?: readonly string[]
}

export interface ServerAddress {
  /** Address to bind to. Default: this machine only, 127.0.0.1. */
  readonly host?: string
  /** Default: 6007, or the next free port. 0: any free port. */
  readonly port?: number
  /** Clients must present it. Required if other machines can reach the server. */
  readonly token?: string
}

export interface WatchServer {
  /** URL to open in a browser, including the token. */
  readonly address: string
  close(): Promise<void>
}

/** TensorBoard uses 6006. If 50 ports are taken, something else is wrong. */
const ports = { first: 6007, tries: 50 }
const MIN_TOKEN_LENGTH = 8
/** An address may name thousands of runs, more than Node's default of 16 KiB holds. */
const MAX_HEAD_BYTES = 256 << 10

/**
 * Serves folders until it is closed.
 * @throws UsageError if a folder does not exist, or host, port or token cannot be used
 * @throws RunError if the page is not built
 */
export async function startWatch({ roots, data = [], ...address }: WatchOptions): Promise<WatchServer> {
  checkAccess(address)
  const cleanup = new Cleanup()
  try {
    const page = await readPage(builtPage)
    const collection = await WatchedCollection.open(roots)
    cleanup.defer(() => collection.close())
    const readable = await Promise.all([...roots, ...data].map(realDataPath))
    const server = await serveWatched(collection, page, address, readable)
    cleanup.defer(() => server.close())
    return { address: server.address, close: () => cleanup.run() }
  } catch (error) {
    await cleanup.run()
    throw error
  }
}

async function realDataPath(path: string): Promise<string> {
  try {
    return await realpath(path)
  } catch (error) {
    // The roots have been checked before, so this path is from --data.
    const why = errorCode(error) === 'ENOENT' ? 'there is no such file or folder' : (error as Error).message
    throw new UsageError(`invalid --data: "${path}" (${why})`)
  }
}

/**
 * Serves an open collection, and does not close it.
 * @param readable Real paths from which models and their texts may be read
 */
export async function serveWatched(
  collection: Watched,
  page: Page,
  address: ServerAddress,
  readable: readonly string[] = [],
): Promise<WatchServer> {
  checkAccess(address)
  const { host = '127.0.0.1', token } = address
  const server = createServer({ maxHeaderSize: MAX_HEAD_BYTES })
  const port = await listen(server, host, address.port)
  const processes = new TraceProcesses(readable)
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

function checkAccess({ host = '127.0.0.1', token }: ServerAddress): void {
  if (token !== undefined && token.length < MIN_TOKEN_LENGTH)
    throw new UsageError(`invalid --token: it has ${token.length} characters (expected at least ${MIN_TOKEN_LENGTH})`)
  if (token === undefined && !isLoopback(host))
    throw new UsageError(
      `invalid --host: "${host}" lets other machines read these runs; add --token "$(openssl rand -hex 16)", ` +
        'which visitors then need, or leave --host out and connect through a tunnel (ssh -L)',
    )
}

/** @returns the port that it listens on */
async function listen(server: Server, host: string, asked: number | undefined): Promise<number> {
  if (asked !== undefined) return bind(server, host, asked)
  for (let port = ports.first; ; port++)
    try {
      return await bind(server, host, port)
    } catch (error) {
      if (!(error instanceof PortTakenError) || port + 1 === ports.first + ports.tries) throw error
    }
}

class PortTakenError extends UsageError {}

function bind(server: Server, host: string, port: number): Promise<number> {
  return new Promise((resolve, reject) => {
    const fail = (error: Error) => reject(listenError(error, host, port))
    server.once('error', fail)
    server.listen({ host: host.replace(/^\[(.*)\]$/, '$1'), port, exclusive: true }, () => {
      server.off('error', fail)
      const address = server.address()
      if (address === null || typeof address === 'string') reject(new Error('internal: a server without a port'))
      else resolve(address.port)
    })
  })
}

function listenError(error: Error, host: string, port: number): Error {
  switch (errorCode(error)) {
    case 'EADDRINUSE':
      return new PortTakenError(
        `invalid --port: ${port} is taken by another program (choose another, or leave --port out)`,
      )
    case 'EACCES':
      return new UsageError(`invalid --port: ${port} is not permitted (expected 1024 or higher)`)
    case 'ENOTFOUND':
    case 'EAI_AGAIN':
    case 'EADDRNOTAVAIL':
    case 'EINVAL':
      return new UsageError(
        `invalid --host: "${host}" is not an address of this machine (expected one, or 0.0.0.0 for all)`,
      )
    default:
      return error
  }
}

/** If the server is bound to all addresses, the URL has the name of this machine. */
function addressOf(host: string, port: number, token: string | undefined): string {
  const name = /^(?:0\.0\.0\.0|::|\[::\])$/.test(host) ? hostname() : host
  const url = new URL(`http://${name.includes(':') && !name.startsWith('[') ? `[${name}]` : name}:${port}/`)
  if (token !== undefined) url.searchParams.set('token', token)
  return url.href
}
