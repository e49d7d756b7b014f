/** Serves by HTTP: binds to an address, and closes all connections in the end. */
import { createServer, type Server } from 'node:http'
import { hostname } from 'node:os'
import { getRequestListener } from '@hono/node-server'
import { option, UsageError, wording } from '../../core/errors.ts'
import { errorCode } from '../../node/system/disk.ts'
import { isLoopback } from './senders.ts'

export interface Access {
  readonly port: number
  /** Secret that clients must have; if undefined, only this machine may connect. */
  readonly token: string | undefined
}

export interface ServerAddress {
  /** Address to bind to. Default: this machine only, 127.0.0.1. */
  readonly host?: string
  /** Port to bind to; 0 means any free port. Default: the first port of the service, or the next free port. */
  readonly port?: number
  /** Secret that clients must present. It is required if other machines can reach the server. */
  readonly token?: string
}

export interface PageServer {
  /** URL to open in a browser, including the token. */
  readonly address: string
  close(): Promise<void>
}

interface Site {
  fetch(request: Request): Response | Promise<Response>
  close?(): Promise<void>
}

/** What is served. */
export interface Service {
  readonly firstPort: number
  /** What an open server lets other machines do, for messages. */
  readonly allows: string
  /** The body of a response to a request that cannot be answered. */
  problem(message: string): object
}

/** If 50 ports are taken, something else is wrong. */
const PORT_TRIES = 50
const MIN_TOKEN_LENGTH = 8
/** Limit of the head of a request: its address may name thousands of runs, too many for Node's default of 16 KiB. */
const MAX_HEAD_BYTES = 256 << 10

/** Serves a site until it is closed. @throws UsageError if host, port or token cannot be used */
export async function serve(
  address: ServerAddress,
  service: Service,
  open: (access: Access) => Site,
): Promise<PageServer> {
  checkAccess(address, service)
  const { host = '127.0.0.1', token } = address
  const server = createServer({ maxHeaderSize: MAX_HEAD_BYTES })
  const port = await listen(server, host, address.port, service)
  const site = open({ port, token })
  const answer = getRequestListener((request) => site.fetch(nodeRequest(request)), { overrideGlobalObjects: false })
  server.on('request', (request, response) => {
    if (!unsupported.has(request.method ?? '')) return answer(request, response)
    response.writeHead(405, { 'content-type': 'application/json', allow: 'GET, HEAD, POST' })
    const message = `The method ${request.method} is not supported (expected GET, HEAD or POST).`
    response.end(JSON.stringify(service.problem(message)))
  })
  return {
    address: addressOf(host, port, token),
    async close() {
      const ended = site.close?.()
      const closed = new Promise((resolve) => server.close(resolve))
      server.closeAllConnections()
      await Promise.all([closed, ended])
    },
  }
}

/** Methods that the Fetch standard forbids, so that no `Request` can have them. */
const unsupported = new Set(['TRACE', 'TRACK'])

/** The request in Node's own class: a middleware cannot build a request from the listener's look-alike. */
function nodeRequest({ url, method, headers, body, signal }: Request): Request {
  return new Request(url, { method, headers, signal, ...(body && { body, duplex: 'half' }) } as RequestInit)
}

/** Checks host and token. @throws UsageError if an address lets everyone in, or a token is too short */
export function checkAccess({ host = '127.0.0.1', token }: ServerAddress, { allows }: Service): void {
  if (token !== undefined && token.length < MIN_TOKEN_LENGTH)
    throw new UsageError(
      wording`invalid ${option('token')}: it has ${token.length} characters (expected at least ${MIN_TOKEN_LENGTH})`,
    )
  if (token === undefined && !isLoopback(host))
    throw new UsageError(
      wording`invalid ${option('host')}: "${host}" lets other machines ${allows}; add ${option('token', '"$(openssl rand -hex 16)"')}, ${wording`which visitors then need, or leave ${option('host')} out and connect through a tunnel (ssh -L)`}`,
    )
}

/** Binds to the requested port, or to the first free port. @returns the port that the server listens on */
async function listen(
  server: Server,
  host: string,
  asked: number | undefined,
  { firstPort }: Service,
): Promise<number> {
  if (asked !== undefined) return bind(server, host, asked)
  for (let port = firstPort; ; port++)
    try {
      return await bind(server, host, port)
    } catch (error) {
      if (!(error instanceof PortTakenError) || port + 1 === firstPort + PORT_TRIES) throw error
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
        wording`invalid ${option('port')}: ${port} is taken by another program (choose another, or leave ${option('port')} out)`,
      )
    case 'EACCES':
      return new UsageError(wording`invalid ${option('port')}: ${port} is not permitted (expected 1024 or higher)`)
    case 'ENOTFOUND':
    case 'EAI_AGAIN':
    case 'EADDRNOTAVAIL':
    case 'EINVAL':
      return new UsageError(
        wording`invalid ${option('host')}: "${host}" is not an address of this machine (expected one, or 0.0.0.0 for all)`,
      )
    default:
      return error
  }
}

/** The URL of the server. If it is bound to all addresses, the URL has the name of this machine. */
function addressOf(host: string, port: number, token: string | undefined): string {
  const name = /^(?:0\.0\.0\.0|::|\[::\])$/.test(host) ? hostname() : host
  const url = new URL(`http://${name.includes(':') && !name.startsWith('[') ? `[${name}]` : name}:${port}/`)
  if (token !== undefined) url.searchParams.set('token', token)
  return url.href
}
