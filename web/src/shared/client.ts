/** Requests to the server. They can be aborted; a failed request throws an error whose message the page shows. */
import type { Change, Problem } from '../../../src/faces/watch/api.ts'

type Query = Readonly<Record<string, string | number | undefined>>

export async function getJson<T>(path: string, query: Query = {}, signal?: AbortSignal): Promise<T> {
  return (await (await get(path, query, signal)).json()) as T
}

export async function postJson<T>(path: string, body: object, signal?: AbortSignal): Promise<T> {
  const headers = { 'content-type': 'application/json' }
  const request = { method: 'POST', headers, body: JSON.stringify(body), ...(signal && { signal }) }
  return (await (await checkResponse(fetch(path, request))).json()) as T
}

export async function getFloats(path: string, query: Query, signal?: AbortSignal): Promise<Float32Array> {
  return new Float32Array(await (await get(path, query, signal)).arrayBuffer())
}

const get = (path: string, query: Query, signal: AbortSignal | undefined): Promise<Response> =>
  checkResponse(fetch(urlOf(path, query), signal ? { signal } : {}))

/** Delay before a new connection, about as long as in browsers. */
const RETRY_MS = 3000

/**
 * Calls the listener for every change of a run, and with `null` when the connection opens or breaks. It is connected
 * only while the page is visible: browsers open at most six connections to a server for all their tabs, and a seventh
 * tab would wait for ever.
 * @returns a function that ends the connection
 */
export function onChanges(listener: (change: Change | null, connected: boolean) => void): () => void {
  let events: EventSource | null = null
  let timer: ReturnType<typeof setTimeout> | undefined
  const end = () => {
    clearTimeout(timer)
    events?.close()
    events = null
  }
  const follow = () => {
    if (document.hidden) return end()
    if (events) return
    const source = new EventSource('/api/events')
    events = source
    source.addEventListener('open', () => listener(null, true))
    source.addEventListener('error', () => {
      listener(null, false)
      if (source.readyState !== EventSource.CLOSED) return
      // Browsers reconnect after a network error, but not after an HTTP error of a proxy that has lost its server.
      end()
      timer = setTimeout(follow, RETRY_MS)
    })
    source.addEventListener('change', (event) => listener(JSON.parse(event.data) as Change, true))
  }
  follow()
  document.addEventListener('visibilitychange', follow)
  return () => {
    document.removeEventListener('visibilitychange', follow)
    end()
  }
}

function urlOf(path: string, query: Query): string {
  const present = Object.entries(query).filter((entry): entry is [string, string | number] => entry[1] !== undefined)
  const parameters = new URLSearchParams(present.map(([key, value]): [string, string] => [key, String(value)]))
  return present.length > 0 ? `${path}?${parameters}` : path
}

async function checkResponse(request: Promise<Response>): Promise<Response> {
  let response: Response
  try {
    response = await request
  } catch (error) {
    if (error instanceof DOMException && error.name === 'AbortError') throw error
    throw new Error('The server does not answer. Is choir watch still running?')
  }
  if (response.ok) return response
  const problem = await response.json().then(
    (body: Problem) => body.problem,
    () => undefined,
  )
  throw new Error(problem ?? `The server answered ${response.status} ${response.statusText}`)
}
